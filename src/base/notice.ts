/**
 * An event worth reporting: a limit reached, a peer's error, a change in the life of a client. Logs, `$SYS` and tests read this one
 * stream, so nothing is dropped silently.
 */
export interface Notice {
  readonly code: NoticeCode
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  /** Session key, `mqtt:<clientId>` or `sn:<clientId>`. */
  readonly client?: string
  /** User name in CONNECT, which may be unverified. */
  readonly user?: string
  /** Network address of the peer, such as `127.0.0.1:51234`. */
  readonly peer?: string
  /** In plain words; for protocol errors with the rule that was broken. */
  readonly reason?: string
  /** Number of occurrences that this Notice stands for; 1 if absent. */
  readonly count?: number
  /** The limit that was reached, one of `LIMIT_NAMES`. */
  readonly limit?: string
}

interface NoticeText {
  readonly levels: readonly Notice['level'][]
  /** Which fields it may have, besides `code` and `level`. */
  readonly fields: readonly Exclude<keyof Notice, 'code' | 'level'>[]
  /** What has happened. */
  readonly about: string
  /** What an operator may want to do. */
  readonly action: string
}

/** Every code with its documentation: docs/notices.md is written from this table (`npm run docs`). */
export const NOTICES = {
  'client-connected': {
    levels: ['info'],
    fields: ['client', 'user', 'peer', 'reason'],
    about:
      'A client has connected: CONNACK with success. The reason says what it asked for: protocol version, keep alive, clean session or session expiry.',
    action: 'Nothing.',
  },
  'client-disconnected': {
    levels: ['info'],
    fields: ['client', 'peer'],
    about: 'A client has sent DISCONNECT.',
    action: 'Nothing.',
  },
  'client-lost': {
    levels: ['info'],
    fields: ['client', 'peer', 'reason'],
    about:
      'A connection ended without DISCONNECT, or a sensor was silent for longer than its keep alive or its sleep allows. The will is published.',
    action: 'If it happens often: check the network, keep alive and, for sensors, t_retry and n_retry.',
  },
  'client-refused': {
    levels: ['info', 'debug'],
    fields: ['client', 'user', 'peer', 'reason', 'limit'],
    about: 'CONNECT was refused, or a TLS or WebSocket handshake did not lead to one. The reason names the rule or the option.',
    action: 'If the client should be let in: correct its credentials, or the option in the line.',
  },
  'address-banned': {
    levels: ['warn'],
    fields: ['peer', 'reason', 'limit'],
    about: 'Too many logins from this address failed (ban_after). It is refused for ban_seconds.',
    action: 'Look for the client with the wrong password. fail2ban can read this line (docs/security.md).',
  },
  'client-asleep': {
    levels: ['debug'],
    fields: ['client', 'peer', 'reason'],
    about: 'A sensor has gone to sleep. The reason says for how long.',
    action: 'Nothing.',
  },
  'client-takeover': {
    levels: ['debug', 'info', 'warn'],
    fields: ['client', 'peer', 'reason'],
    about:
      'A new connection with the same client id ended the one before. At level debug: that of a sensor from the same address, as when it wakes to publish. At level warn: a clean CONNECT from another address ended the session of a sensor.',
    action:
      'If it alternates: two clients use one client id. At level warn: check that it was your sensor, or bind it to its networks (sn_users).',
  },
  'client-moved': {
    levels: ['info', 'debug'],
    fields: ['client', 'peer', 'reason'],
    about: 'A sensor is now at another address. The reason names the one before.',
    action: 'Nothing, if sensors move or are behind NAT. Otherwise bind them to networks (sn_users).',
  },
  'client-revoked': {
    levels: ['warn'],
    fields: ['client', 'peer', 'reason'],
    about: 'A client was disconnected, or its session deleted, because rules that were reloaded no longer allow it.',
    action: 'Nothing, if the change was meant.',
  },
  'session-expired': {
    levels: ['info', 'warn'],
    fields: ['client', 'reason', 'limit'],
    about: 'A session was deleted: it expired, or (warn) it had never been used and was deleted to make room for a new one.',
    action: 'At level warn: raise the limit in the line, or delete sessions with roost sessions rm.',
  },
  'will-published': {
    levels: ['info'],
    fields: ['client', 'reason'],
    about: 'The will of a client was published.',
    action: 'Nothing.',
  },
  'will-refused': {
    levels: ['warn'],
    fields: ['client', 'peer', 'reason', 'limit'],
    about:
      'A will was not accepted, was not published, or was published without being retained: access rules or a limit forbid it, or its payload does not fit the type of its topic.',
    action: "Give the client's user write access to the topic, raise the limit in the line, or correct the will.",
  },
  'publish-refused': {
    levels: ['debug', 'info', 'warn'],
    fields: ['client', 'peer', 'reason', 'limit'],
    about:
      'A message was not accepted: access rules or a limit forbid it, or its payload does not fit the type of its topic (types). The reason contains the topic and the reason code. Level warn: refused because of memory_limit; level debug: a message with QoS -1.',
    action:
      'Give the user write access to the topic, raise the limit in the line, or correct the client or the type (docs/types.md).',
  },
  'publish-marked': {
    levels: ['info'],
    fields: ['client', 'reason'],
    about:
      'The payload of a message does not fit the type of its topic, which says `invalid: mark`: the message was delivered with the user property type-error. The reason contains topic and type.',
    action: 'Correct the client, or the type (docs/types.md).',
  },
  'subscribe-refused': {
    levels: ['info'],
    fields: ['client', 'reason', 'limit'],
    about: 'A subscription was refused with a reason code in SUBACK.',
    action: 'Give the user read access to the topic, or raise the limit in the line.',
  },
  'request-refused': {
    levels: ['debug', 'info'],
    fields: ['client', 'peer', 'reason'],
    about:
      'A message from a sensor was answered with a return code other than accepted. The reason names the message, the return code and the cause.',
    action: 'Congestion passes. For invalid topic ids, check that the sensor registers its topics after each CONNECT.',
  },
  'condition-failed': {
    levels: ['info', 'warn'],
    fields: ['reason'],
    about:
      'The condition of a subscription could not be evaluated on a message, which counts as false; reported once for each condition. At level warn: a stored condition is no longer valid, and its subscriptions match nothing.',
    action: 'Ask for the field first, `has(json.x) && json.x > 1`, or correct the condition (docs/filters.md).',
  },
  'subscription-ended': {
    levels: ['warn'],
    fields: ['client', 'reason'],
    about: 'A subscription was deleted because reloaded access rules no longer allow it (subscription_access: whole).',
    action: 'Nothing, if the change was meant.',
  },
  'protocol-error': {
    levels: ['debug', 'info'],
    fields: ['client', 'user', 'peer', 'reason'],
    about:
      'A client broke a rule of the protocol, or does not speak it at all; the reason says which. At level debug: a message out of turn, often a late duplicate, which is ignored.',
    action: 'Check the client software, or which port it connects to.',
  },
  'malformed-packet': {
    levels: ['info'],
    fields: ['client', 'peer', 'reason'],
    about: 'A packet could not be decoded. The connection is closed.',
    action: 'Check the client software.',
  },
  'packet-too-large': {
    levels: ['info', 'warn'],
    fields: ['client', 'peer', 'reason', 'limit'],
    about:
      'A packet exceeds max_packet_size, max_connect_packet_size or, if it is SUBSCRIBE or UNSUBSCRIBE, max_subscribe_packet_size (1 MiB). The connection is closed.',
    action: 'Raise the limit in the line if the client needs such packets, or let it send its topic filters in several.',
  },
  'malformed-datagram': {
    levels: ['info'],
    fields: ['peer', 'reason'],
    about: 'A datagram, or a frame on a serial line, is not MQTT-SN. It is ignored.',
    action: 'On a serial line: check baud rate and framing. On UDP: something else sends to this port.',
  },
  'forwarder-refused': {
    levels: ['info'],
    fields: ['peer', 'reason'],
    about: 'A message came through a forwarder, and forwarders is false.',
    action: 'Set forwarders: true if a forwarder is meant to be there.',
  },
  'unknown-sender': {
    levels: ['debug'],
    fields: ['peer', 'reason'],
    about: 'A message came from an address without a connected sensor, and was answered with DISCONNECT.',
    action: 'Nothing. The sensor connects again.',
  },
  'retries-exhausted': {
    levels: ['info'],
    fields: ['client', 'peer', 'reason'],
    about: 'A sensor did not acknowledge a message after n_retry retransmissions.',
    action: 'Check the radio link, or raise t_retry or n_retry.',
  },
  'gateway-heard': {
    levels: ['info', 'warn'],
    fields: ['peer', 'reason'],
    about: 'Another gateway sends ADVERTISE. At level warn: from an address outside gateway_networks, so it is ignored.',
    action: 'At level warn: add its network to gateway_networks, or find out who sends it.',
  },
  'gateway-gone': {
    levels: ['info'],
    fields: ['reason'],
    about: 'A gateway that was heard before has missed three ADVERTISE messages.',
    action: 'Check that gateway, if it is yours.',
  },
  'port-failed': {
    levels: ['warn'],
    fields: ['reason'],
    about: 'A UDP socket or a serial device reports an error. A serial device is reopened when it is back.',
    action: 'Check the device or the network interface.',
  },
  'port-recovered': {
    levels: ['warn'],
    fields: ['reason'],
    about: 'A serial device works again. The reason says how many datagrams were lost.',
    action: 'Nothing.',
  },
  'queue-full': {
    levels: ['warn'],
    fields: ['client', 'reason', 'count', 'limit'],
    about: 'Messages for a client were dropped because its queue is full, or memory is.',
    action: 'Raise max_queued_messages or max_queued_bytes, or find out why the client does not read.',
  },
  'message-dropped': {
    levels: ['debug', 'info', 'warn'],
    fields: ['client', 'peer', 'reason', 'count', 'limit'],
    about:
      'A message was not delivered to one client. The reason says why: expired, larger than the client or its radio accepts, not acknowledged, no longer allowed, or a late duplicate.',
    action: 'Depends on the reason. Expired messages and duplicates need nothing.',
  },
  'publisher-paused': {
    levels: ['debug'],
    fields: ['client', 'peer', 'reason'],
    about:
      'A publisher is not read for a moment, because the queue of a client that gets its messages is three quarters full and drains. In all that takes a second, and a millisecond more for each message that it may send without a pause.',
    action: 'Nothing, unless messages are dropped as well (queue-full): then find out why that client reads slowly.',
  },
  'limit-reached': {
    levels: ['debug', 'info', 'warn'],
    fields: ['client', 'user', 'peer', 'reason', 'limit'],
    about: 'A limit was reached, and what exceeded it was refused or delayed.',
    action: 'Raise the limit in the line if the load is legitimate. Some are fixed values (docs/configuration.md).',
  },
  'store-failed': {
    levels: ['error'],
    fields: ['reason'],
    about: 'Writing to the store failed. Nothing that needs the disk is acknowledged until it works again.',
    action: 'Check the disk and the system log. See docs/durability.md.',
  },
  'store-full': {
    levels: ['error'],
    fields: ['client', 'peer', 'reason'],
    about: 'The disk is full, or max_data_bytes is reached. What would need room is refused.',
    action: 'Free disk space, or raise max_data_bytes.',
  },
  'store-blocked': {
    levels: ['warn'],
    fields: ['reason'],
    about:
      'Another process holds a lock or a long read transaction on the store, so the store cannot be written, or its write-ahead log cannot be reset.',
    action: 'End that process, such as an open sqlite3 session.',
  },
  'store-recovered': {
    levels: ['warn'],
    fields: ['reason'],
    about: 'The store works again after store-failed, store-full or store-blocked.',
    action: 'Nothing.',
  },
  'store-damaged': {
    levels: ['error'],
    fields: ['reason'],
    about: 'The store was damaged, or another process has written to it. Nothing is written or acknowledged any more.',
    action: 'Stop Roost, then roost store check and roost store recover. See docs/store.md.',
  },
  'clock-backwards': {
    levels: ['warn'],
    fields: ['reason'],
    about:
      'At the start, the wall clock is behind the times in the store. Roost counts no time between the last run and this one, so nothing expires too early.',
    action: 'Set the clock; use NTP.',
  },
  'clock-jumped': {
    levels: ['warn'],
    fields: ['reason'],
    about: 'The wall clock was set. Sessions and messages last as long as before.',
    action: 'Nothing, if the clock was corrected.',
  },
  'process-paused': {
    levels: ['warn'],
    fields: ['reason'],
    about:
      'The process did not run for some seconds: stopped, swapped out, or a paused virtual machine. Data that arrived meanwhile is read before any client counts as lost.',
    action: 'If nothing stopped it: check the load and memory of the machine.',
  },
  'reload-failed': {
    levels: ['error'],
    fields: ['reason'],
    about: 'SIGHUP: a file is wrong. All rules from before stay in force.',
    action: 'Correct the file in the line and send SIGHUP again.',
  },
  'certificate-expires': {
    levels: ['warn'],
    fields: ['reason'],
    about: 'A certificate that the configuration names has expired, or will within 30 days. Said at the start and once a day.',
    action: 'Renew it, and send SIGHUP.',
  },
  'upstream-up': {
    levels: ['info'],
    fields: ['client', 'peer', 'reason'],
    about:
      'A link to a far side (a bridge) is connected. The reason says with which protocol version, and whether its session was still there.',
    action: 'Nothing.',
  },
  'upstream-down': {
    levels: ['warn'],
    fields: ['client', 'peer', 'reason'],
    about:
      'A link to a far side was lost, or could not be made. It is tried again, after one second at first and after a minute at last. An attempt that fails for the same reason is not reported again.',
    action: 'Check that broker, the network and, if the reason names them, credentials or certificates.',
  },
  'upstream-refused': {
    levels: ['warn'],
    fields: ['client', 'peer', 'reason'],
    about: 'The far side of a link refused a subscription. The others are not affected, and it is asked again.',
    action: "Allow it in that broker's access rules, or make room there.",
  },
  'upstream-limited': {
    levels: ['warn'],
    fields: ['client', 'peer', 'reason'],
    about:
      'The far side of a link lacks something, such as QoS 2 or retained messages, or breaks a rule of the protocol. Said once.',
    action: 'Depends on the reason.',
  },
  'upstream-session-lost': {
    levels: ['warn'],
    fields: ['reason', 'count'],
    about:
      'A cluster had no session any more for so many sensors that had one. They are subscribed again; what was queued for them is gone.',
    action:
      'If a node of the cluster has failed: let it keep sessions on more than one node (RabbitMQ: quorum queues). Otherwise check its session expiry.',
  },
  'bridge-problem': {
    levels: ['warn'],
    fields: ['client', 'reason'],
    about:
      'A bridge (the client in the line is its name, or its session) cannot do all of its work. The reason says what, and what happens next.',
    action: 'Depends on the reason; see docs/bridge.md.',
  },
  'bridge-refused': {
    levels: ['warn'],
    fields: ['client', 'reason'],
    about: 'A bridge could not pass on a message, which is dropped: its topic is not valid on the other side.',
    action: 'Shorten the prefixes of the topic, or raise max_topic_levels.',
  },
  'http-refused': {
    levels: ['info'],
    fields: ['user', 'peer', 'reason'],
    about:
      'The HTTP service did not answer a request: a wrong password or token, an unknown Host, a page of another site, or too many connections or requests. Counts towards ban_after if it was a login.',
    action: 'Correct the password or token of that program, or add the name in the line to http_hosts.',
  },
  'operator-action': {
    levels: ['info'],
    fields: ['client', 'user', 'reason'],
    about:
      'A user with the role manage has disconnected a client, ended its session, deleted retained messages, set the password of a user, created or deleted a user, or reloaded the files, over HTTP, or the program that Roost is part of has disconnected a client. There is no user name in that case, if no login is needed, or if the request had a token.',
    action: 'Nothing, if it was you.',
  },
  'http-failed': {
    levels: ['error'],
    fields: ['peer', 'reason'],
    about: 'The HTTP service answered a request with 500 Internal Server Error, because of a fault in Roost.',
    action: 'Report it, with the line.',
  },
  'authentication-failed': {
    levels: ['warn'],
    fields: ['reason'],
    about:
      'A login could not be checked: the HTTP service or a key set is not available or answered with an error, or the hook authenticate failed. The client was refused with Server unavailable.',
    action: 'Check that service, or the hook.',
  },
  'hook-failed': {
    levels: ['error'],
    fields: ['reason', 'count'],
    about:
      'A hook of the program threw an exception, returned what it may not, or did not answer in time. What it was asked about was refused (docs/hooks.md). Each hook is reported once a minute, with the number of failures since.',
    action: 'Correct the hook that the line names.',
  },
} as const satisfies Record<string, NoticeText>

export type NoticeCode = keyof typeof NOTICES

export type NoticeSink = (notice: Notice) => void

/** Counts Notices since the start. Its size is bounded by the number of codes and limits, whatever peers do. */
export class NoticeCounts {
  readonly byCode = new Map<NoticeCode, number>()
  /** By the key of the limit. */
  readonly byLimit = new Map<string, number>()

  add({ code, limit, count = 1 }: Notice): void {
    this.byCode.set(code, (this.byCode.get(code) ?? 0) + count)
    if (limit !== undefined) this.byLimit.set(limit, (this.byLimit.get(limit) ?? 0) + count)
  }
}
