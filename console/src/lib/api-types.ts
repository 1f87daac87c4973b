// Written by `npm run docs` from the OpenAPI document of Roost.

export interface Operations {
  'GET /api/v1/overview': {
    query: undefined
    body: undefined
    answer: {
      /** version of Roost */
      readonly version: string
      /** when the process started, by the wall clock (ISO 8601) */
      readonly started_at: string
      /** whether Roost should get traffic */
      readonly ready: boolean
      readonly clients: {
        /** clients that are connected; sleeping sensors are among them */
        readonly connected: number
        /** sessions without a connected client */
        readonly disconnected: number
        /** most clients at the same time since the start */
        readonly maximum: number
        /** sessions that expired since the start */
        readonly expired: number
      }
      readonly sensors: {
        /** MQTT-SN clients that are awake all the time */
        readonly active: number
        /** that sleep */
        readonly asleep: number
        /** that fetch their messages, and sleep again */
        readonly awake: number
        /** that were silent for too long */
        readonly lost: number
        /** that have left, and have a session */
        readonly disconnected: number
      }
      /** messages sent to sensors again since the start */
      readonly retransmissions: number
      /** of each port for sensors that has a data rate */
      readonly airtime: readonly ({
        /** name of the port for sensors */
        readonly port: string
        /** airtime used within the last hour */
        readonly used_seconds: number
        /** airtime left of the last hour's (duty_cycle); absent: no limit */
        readonly left_seconds?: number
      })[]
      /** frames to sensors that wait for airtime */
      readonly queued_frames: number
      /** CONNECT packets since the start */
      readonly connects: number
      readonly packets: {
        /** packets of all types received since the start */
        readonly received: number
        /** packets of all types sent since the start */
        readonly sent: number
      }
      readonly messages: {
        /** messages received since the start */
        readonly received: number
        /** deliveries sent since the start */
        readonly sent: number
        /** deliveries dropped since the start */
        readonly dropped: number
      }
      readonly payload_bytes: {
        /** bytes of payload received since the start */
        readonly received: number
        /** bytes of payload sent since the start */
        readonly sent: number
      }
      readonly bytes: {
        /** bytes received since the start */
        readonly received: number
        /** bytes sent since the start */
        readonly sent: number
      }
      readonly retained: {
        /** retained messages */
        readonly messages: number
        /** their topics, payloads and properties */
        readonly bytes: number
      }
      readonly waiting: {
        /** messages queued or in flight, each receiver counted */
        readonly messages: number
        /** bytes of these messages */
        readonly bytes: number
      }
      readonly subscriptions: {
        /** subscriptions */
        readonly plain: number
        /** shared subscriptions */
        readonly shared: number
      }
      readonly memory: {
        /** bytes that the system has given to the process */
        readonly resident: number
        /** bytes in use by objects and buffers */
        readonly heap: number
        /** bytes that clients make Roost hold */
        readonly clients: number
        /** memory_limit */
        readonly limit?: number
      }
      /** CPU time since the start */
      readonly cpu_seconds: number
      /** notices by their code */
      readonly notices: Readonly<Record<string, number>>
      /** how often a limit was reached, by its option */
      readonly limits: Readonly<Record<string, number>>
      /** why Roost is not ready */
      readonly not_ready?: string
      readonly bridges?: {
        /** bridges that are connected */
        readonly connected: number
        /** all bridges */
        readonly configured: number
      }
      readonly upstream?: {
        readonly targets: {
          /** targets to which sensors are connected */
          readonly up: number
          /** to which none is, and which have answered so far */
          readonly idle: number
          /** to which none is, and the last attempt has failed */
          readonly failing: number
          /** of which three attempts in a row or more have failed */
          readonly away: number
        }
        /** connections of sensors to the cluster that are up */
        readonly connections: number
      }
      /** lag of the event loop at the last sample */
      readonly event_loop_lag_ms?: number
      readonly open_files?: {
        /** files and sockets that are open */
        readonly used: number
        /** how many may be */
        readonly limit: number
      }
      readonly store?: {
        /** bytes of the data directory in use */
        readonly bytes: number
        /** bytes of records that are not durable yet */
        readonly waiting_bytes: number
        /** max_data_bytes */
        readonly max_bytes?: number
      }
    }
  }
  'GET /api/v1/clients': {
    query: {
      readonly q?: string
      readonly state?: 'connected' | 'disconnected' | 'active' | 'asleep' | 'awake' | 'lost'
      readonly port?: string
      readonly protocol?: 'mqtt' | 'mqtt-sn'
      readonly figures?: boolean
      readonly cursor?: string
      readonly limit?: number
    }
    body: undefined
    answer: {
      readonly clients: readonly ({
        /** `mqtt:` or `sn:` and the client id */
        readonly id: string
        /** client id */
        readonly client_id: string
        /** its protocol */
        readonly protocol: 'mqtt' | 'mqtt-sn'
        /** of an MQTT client: connected, disconnected; of a sensor: active, asleep, awake, lost, disconnected */
        readonly state: 'connected' | 'disconnected' | 'active' | 'asleep' | 'awake' | 'lost'
        /** its subscriptions */
        readonly subscription_count: number
        /** messages that are queued, or delivered and not acknowledged */
        readonly waiting_messages: number
        /** their topics, payloads and properties */
        readonly waiting_bytes: number
        /** when that state began; ISO 8601, UTC */
        readonly since?: string
        /** when something last came from it; ISO 8601, UTC */
        readonly last_heard?: string
        /** how long a sensor said that it sleeps */
        readonly sleep_seconds?: number
        /** when its sleep ends; ISO 8601, UTC */
        readonly next_wake?: string
        /** user name */
        readonly user?: string
        /** name of the listener, or of the port for sensors */
        readonly port?: string
        /** network address, for sensors behind a forwarder that of the forwarder */
        readonly address?: string
        /** node id behind a forwarder, in hexadecimal digits */
        readonly node?: string
        readonly upstream?: {
          /** of the connection of its session to the cluster; waiting: for the next attempt; parked: until the sensor wakes */
          readonly state: 'connected' | 'connecting' | 'waiting' | 'parked'
          /** URL of the target that is connected, or was tried last */
          readonly target?: string
        }
        readonly counters?: {
          /** messages that it published */
          readonly messages_received: number
          /** messages that it was sent, retransmissions included */
          readonly messages_sent: number
          /** bytes of all packets that it sent */
          readonly bytes_received: number
          /** bytes of all packets that it was sent */
          readonly bytes_sent: number
          /** messages that it was sent again */
          readonly retransmissions: number
          /** messages for it that were dropped; notices say why */
          readonly dropped: number
          /** CONNECTs, messages and requests that it was refused; notices say why */
          readonly refused: number
          /** how often a sensor woke and went to sleep again */
          readonly wakes?: number
        }
        /** what a sensor mostly did in the last 96 quarters of an hour, the current one last, a letter for each: `s` asleep, `w` awake, `l` lost, `-` unknown; since the process started */
        readonly day?: string
      })[]
      /** for the next page; absent on the last one */
      readonly cursor?: string
    }
  }
  'GET /api/v1/clients/{id}': {
    query: {
      readonly topic?: string
    }
    body: undefined
    answer: {
      /** `mqtt:` or `sn:` and the client id */
      readonly id: string
      /** client id */
      readonly client_id: string
      /** its protocol */
      readonly protocol: 'mqtt' | 'mqtt-sn'
      /** of an MQTT client: connected, disconnected; of a sensor: active, asleep, awake, lost, disconnected */
      readonly state: 'connected' | 'disconnected' | 'active' | 'asleep' | 'awake' | 'lost'
      /** its subscriptions */
      readonly subscription_count: number
      /** messages that are queued, or delivered and not acknowledged */
      readonly waiting_messages: number
      /** their topics, payloads and properties */
      readonly waiting_bytes: number
      /** why it does not get its messages at the moment, the most important first; empty: nothing holds them back */
      readonly reasons: readonly ({
        /** docs/troubleshooting.md explains each */
        readonly code: 'session-ended' | 'lost' | 'disconnected' | 'asleep' | 'overdue' | 'connecting' | 'cluster-away' | 'address-taken' | 'no-subscriptions' | 'no-match' | 'read-denied' | 'condition' | 'qos0-while-away' | 'shared' | 'queue-full' | 'no-memory' | 'expired' | 'not-acknowledged' | 'window-full' | 'congested' | 'not-reading' | 'wake-limit' | 'address-not-validated' | 'airtime' | 'port-missing' | 'too-large' | 'topic-not-registered' | 'topic-refused' | 'topic-ids-used-up' | 'store-waits' | 'store-full'
        /** the same in words, without times */
        readonly text: string
        /** since when; ISO 8601, UTC */
        readonly since?: string
        /** when it is expected to end, or was due to; ISO 8601, UTC */
        readonly until?: string
        /** messages that it holds back */
        readonly messages?: number
        /** their topics, payloads and properties */
        readonly bytes?: number
        /** of messages or topic ids */
        readonly limit?: number
        /** of bytes */
        readonly bytes_limit?: number
        /** messages for this client that were dropped so far, for any reason */
        readonly dropped?: number
        /** option behind the limit */
        readonly option?: string
        /** topic that it is about */
        readonly topic?: string
        /** topic filter of the subscription that it is about */
        readonly filter?: string
        /** type of the packet that is awaited */
        readonly awaiting?: string
        /** message id, or packet id, of that packet */
        readonly msg_id?: number
        /** how often the message was sent again */
        readonly retransmissions?: number
        /** how often it is sent again at most, before the client counts as lost or the message is given up */
        readonly retransmissions_limit?: number
        /** name of the port */
        readonly port?: string
      })[]
      /** when that state began; ISO 8601, UTC */
      readonly since?: string
      /** when something last came from it; ISO 8601, UTC */
      readonly last_heard?: string
      /** how long a sensor said that it sleeps */
      readonly sleep_seconds?: number
      /** when its sleep ends; ISO 8601, UTC */
      readonly next_wake?: string
      /** user name */
      readonly user?: string
      /** name of the listener, or of the port for sensors */
      readonly port?: string
      /** network address, for sensors behind a forwarder that of the forwarder */
      readonly address?: string
      /** node id behind a forwarder, in hexadecimal digits */
      readonly node?: string
      /** version of the protocol */
      readonly protocol_version?: '3.1' | '3.1.1' | '5.0' | '1.2'
      /** keep alive; 0: none */
      readonly keep_alive_seconds?: number
      /** its CONNECT has the bridge bit */
      readonly bridge?: boolean
      /** messages that it may be sent before it acknowledges one */
      readonly window?: number
      /** its messages with QoS 1 whose PUBACK waits for the store */
      readonly unanswered_publishes?: number
      /** false: its socket takes nothing at the moment */
      readonly reads?: boolean
      /** it is not read at the moment */
      readonly paused?: boolean
      /** CleanSession of its CONNECT */
      readonly clean?: boolean
      /** its address is trusted, or has acknowledged a message */
      readonly address_validated?: boolean
      /** datagrams to it wait for airtime */
      readonly waits_for_port?: boolean
      /** messages to it that are not acknowledged, the first 100 */
      readonly exchanges?: readonly ({
        /** message that the gateway waits for */
        readonly awaiting: string
        /** message id */
        readonly msg_id: number
      })[]
      readonly counters?: {
        /** messages that it published */
        readonly messages_received: number
        /** messages that it was sent, retransmissions included */
        readonly messages_sent: number
        /** bytes of all packets that it sent */
        readonly bytes_received: number
        /** bytes of all packets that it was sent */
        readonly bytes_sent: number
        /** messages that it was sent again */
        readonly retransmissions: number
        /** messages for it that were dropped; notices say why */
        readonly dropped: number
        /** CONNECTs, messages and requests that it was refused; notices say why */
        readonly refused: number
        /** how often a sensor woke and went to sleep again */
        readonly wakes?: number
      }
      /** the last 96 quarters of an hour, the current one last; since the process started */
      readonly last_day?: readonly ('unknown' | 'asleep' | 'awake' | 'lost')[]
      /** its topic ids */
      readonly topic_id_count?: number
      /** the first 1,000 */
      readonly topic_ids?: readonly ({
        /** topic id */
        readonly id: number
        /** topic name */
        readonly topic: string
        /** who registered it */
        readonly requested_by: 'sensor' | 'gateway'
        /** false: registered again before it is used, because the sensor may have forgotten it */
        readonly known: boolean
      })[]
      /** when the session began; ISO 8601, UTC; absent if that was before Roost started */
      readonly created?: string
      /** the user name was verified */
      readonly user_verified?: boolean
      /** the session outlives its connection, and the process */
      readonly persistent?: boolean
      /** how long it outlives its connection; absent: for ever */
      readonly expiry_seconds?: number
      /** when it expires if its client does not return; ISO 8601, UTC */
      readonly expires?: string
      /** prefix of all its topics */
      readonly mount_point?: string
      /** the first 1,000 */
      readonly subscriptions?: readonly ({
        /** topic filter, with `$share/` and its group if it is shared */
        readonly filter: string
        /** granted QoS */
        readonly qos: number
        /** No Local */
        readonly no_local: boolean
        /** Retain As Published */
        readonly retain_as_published: boolean
        /** Retain Handling */
        readonly retain_handling: number
        /** Subscription Identifier */
        readonly identifier?: number
        readonly condition?: {
          /** what a message must fulfil, in CEL (docs/filters.md) */
          readonly text: string
          /** it can be evaluated; if not, nothing passes */
          readonly valid: boolean
          /** messages that it was evaluated on, for all subscriptions that have it, since Roost started */
          readonly evaluated: number
          /** of these, those that it let through */
          readonly passed: number
          /** of these, those on which it could not be evaluated, which counts as false */
          readonly failed: number
        }
      })[]
      readonly queue?: {
        /** how many */
        readonly messages: number
        /** their topics, payloads and properties */
        readonly bytes: number
        /** the first 100 */
        readonly first: readonly ({
          /** topic name */
          readonly topic: string
          /** QoS of the delivery */
          readonly qos: number
          /** length of the payload */
          readonly payload_bytes: number
          /** session that published it */
          readonly publisher?: string
          /** when Roost accepted it; ISO 8601, UTC; absent if that was before it started */
          readonly accepted?: string
          /** when it expires; ISO 8601, UTC */
          readonly expires?: string
          /** it has expired, and is dropped instead of sent */
          readonly expired?: boolean
        })[]
        /** when Roost accepted the message that has waited longest, queued or in flight, without retained ones; ISO 8601, UTC */
        readonly oldest?: string
      }
      readonly in_flight?: {
        /** how many */
        readonly messages: number
        /** their topics, payloads and properties */
        readonly bytes: number
        /** the first 100 */
        readonly first: readonly ({
          /** packet id */
          readonly packet_id: number
          /** `received`: PUBREC has come, and PUBREL is repeated */
          readonly state: 'waiting' | 'sent' | 'received'
          /** topic name */
          readonly topic: string
          /** QoS of the delivery */
          readonly qos: number
          /** length of the payload */
          readonly payload_bytes: number
          /** session that published it */
          readonly publisher?: string
          /** when Roost accepted it; ISO 8601, UTC; absent if that was before it started */
          readonly accepted?: string
          /** when it expires; ISO 8601, UTC */
          readonly expires?: string
          /** it has expired, and is dropped instead of sent */
          readonly expired?: boolean
        })[]
      }
      /** QoS 2 messages of the client that were accepted, and not released by PUBREL */
      readonly unreleased?: number
      readonly upstream?: {
        /** of the connection of its session to the cluster; waiting: for the next attempt; parked: until the sensor wakes */
        readonly state: 'connected' | 'connecting' | 'waiting' | 'parked'
        /** when that began, or the last attempt; ISO 8601, UTC */
        readonly since: string
        /** messages with QoS 1 and 2 that the cluster has not acknowledged */
        readonly unanswered: number
        /** messages to the cluster since the sensor has connected */
        readonly sent: number
        /** messages from it */
        readonly received: number
        /** messages sent again, after a lost connection */
        readonly resent: number
        /** messages dropped on the way; notices say why */
        readonly dropped: number
        /** how often the cluster has lost the session */
        readonly sessions_lost: number
        /** attempts to connect */
        readonly dials: number
        /** of these with success */
        readonly connects: number
        /** URL of the target that is connected, or was tried last */
        readonly target?: string
        /** client id at the cluster */
        readonly client_id?: string
        /** MQTT version of the connection: 5.0 or 3.1.1 */
        readonly version?: string
        /** round trip of the last PINGREQ or message */
        readonly round_trip_ms?: number
        /** why the last connection ended, or the last attempt failed */
        readonly last_error?: string
      }
      readonly will?: {
        /** topic name */
        readonly topic: string
        /** QoS */
        readonly qos: number
        /** whether it is retained */
        readonly retain: boolean
        /** length of the payload */
        readonly payload_bytes: number
        /** Will Delay Interval */
        readonly delay_seconds: number
        /** the payload, if it is not longer than 1 MiB; only for users who may manage */
        readonly payload_base64?: string
      }
    }
  }
  'DELETE /api/v1/clients/{id}': {
    query: undefined
    body: undefined
    answer: undefined
  }
  'POST /api/v1/clients/{id}/disconnect': {
    query: undefined
    body: undefined
    answer: undefined
  }
  'GET /api/v1/bridges': {
    query: undefined
    body: undefined
    answer: {
      readonly bridges: readonly ({
        /** as configured */
        readonly name: string
        /** connecting: tried again and again; idle: lazy, and too little waits; ended: it was to connect once (start_type) */
        readonly state: 'connected' | 'connecting' | 'idle' | 'ended'
        /** when it was connected or lost its connection (ISO 8601) */
        readonly since: string
        /** URL of the remote broker that is connected, or was tried last */
        readonly target: string
        /** id of the session at this broker, as in /api/v1/clients */
        readonly client: string
        /** client id at the remote broker */
        readonly remote_client_id: string
        readonly topics: readonly ({
          /** topic filter behind the prefixes */
          readonly pattern: string
          /** direction */
          readonly direction: 'in' | 'out' | 'both'
          /** maximum QoS */
          readonly qos: number
          /** prefix here */
          readonly local_prefix: string
          /** prefix at the remote broker */
          readonly remote_prefix: string
        })[]
        readonly waiting: {
          /** messages that wait here for the remote broker, queued or in flight */
          readonly messages: number
          /** bytes of these messages */
          readonly bytes: number
        }
        /** messages of QoS 1 and 2 that the remote broker has to acknowledge */
        readonly in_flight: number
        /** messages passed on to the remote broker since the start */
        readonly sent: number
        /** messages received from it since the start */
        readonly received: number
        /** messages sent again since the start, after a lost connection */
        readonly resent: number
        /** messages that either side refused for good since the start; a notice says why */
        readonly refused: number
        /** attempts to connect since the start */
        readonly dials: number
        /** of these with success */
        readonly connects: number
        /** MQTT version of the connection: 5.0, 3.1.1 or 3.1 */
        readonly version?: string
        /** age of the message that has waited longest; absent if none waits */
        readonly oldest_seconds?: number
        /** round trip of the last PINGREQ or message */
        readonly round_trip_ms?: number
        /** why the last connection ended, or the last attempt failed */
        readonly last_error?: string
      })[]
    }
  }
  'GET /api/v1/upstream': {
    query: undefined
    body: undefined
    answer: {
      readonly targets: readonly ({
        /** URL */
        readonly target: string
        /** up: sensors are connected to it; idle: none is, and the target has answered so far (it may have refused sensors: last_error); failing: none is, and the last attempt has failed; away: three attempts in a row or more have failed, and one at a time is made */
        readonly state: 'up' | 'idle' | 'failing' | 'away'
        /** connections that are up */
        readonly connections: number
        /** attempts to connect under way */
        readonly dialling: number
        /** attempts to connect since the start, with those that only look whether it is back */
        readonly dials: number
        /** of these, those with a session */
        readonly connects: number
        /** of these, those that have failed */
        readonly failed_dials: number
        /** when it came to this state (ISO 8601); absent if that was before the first attempt */
        readonly since?: string
        /** when it may be dialled again (ISO 8601) */
        readonly retry_at?: string
        /** MQTT version that it has accepted: 5.0 or 3.1.1 */
        readonly version?: string
        /** round trip of the last PINGREQ or message of any sensor */
        readonly round_trip_ms?: number
        /** why the last connection ended, or the last attempt failed */
        readonly last_error?: string
      })[]
      readonly sessions: {
        /** sessions of sensors with a connection to the cluster */
        readonly connected: number
        /** whose connection is being set up */
        readonly connecting: number
        /** that wait to be dialled */
        readonly waiting: number
        /** whose sensors sleep, without a connection until they wake */
        readonly parked: number
      }
      /** sessions of sensors that are gone, whose will or end the cluster has still to be told */
      readonly ending: number
      readonly held: {
        /** messages of the cluster that sensors have not fetched, or not acknowledged, and those with QoS -1 that wait for the cluster */
        readonly messages: number
        /** bytes of these messages */
        readonly bytes: number
      }
      /** messages of sensors with QoS 1 and 2 that the cluster has not acknowledged */
      readonly unanswered: number
      /** messages from and for sensors dropped since the start; notices say why */
      readonly dropped: number
    }
  }
  'GET /api/v1/retained': {
    query: {
      readonly filter?: string
      readonly q?: string
      readonly level?: string
      readonly cursor?: string
      readonly limit?: number
    }
    body: undefined
    answer: {
      readonly messages: readonly ({
        /** topic name */
        readonly topic: string
        /** length of the payload */
        readonly payload_bytes: number
        /** QoS of its publisher */
        readonly qos: number
        /** client that published it, `mqtt:` or `sn:` before its client id, or `http`, and `http:` before a user, of this service */
        readonly publisher?: string
        /** the publisher's user name, which need not be verified */
        readonly user?: string
        /** when; ISO 8601, UTC; absent if that was before Roost started */
        readonly published?: string
        /** seconds until it expires; absent: never */
        readonly expires_in?: number
      })[]
      /** for the next page; absent on the last one */
      readonly cursor?: string
    } | {
      readonly levels: readonly ({
        /** its name; may be empty */
        readonly level: string
        /** topic of the level */
        readonly topic: string
        /** whether a message is retained on this topic */
        readonly retained: boolean
        /** messages retained on topics below */
        readonly below: number
      })[]
      /** for the next page; absent on the last one */
      readonly cursor?: string
    }
  }
  'DELETE /api/v1/retained': {
    query: {
      readonly filter: string
      readonly dry_run?: boolean
    }
    body: undefined
    answer: {
      /** deleted, or to be deleted */
      readonly messages: number
      /** their size: payload, topic and properties */
      readonly bytes: number
      /** whether they were only counted */
      readonly dry_run: boolean
    }
  }
  'GET /api/v1/retained/{topic}': {
    query: undefined
    body: undefined
    answer: {
      /** topic name */
      readonly topic: string
      /** length of the payload */
      readonly payload_bytes: number
      /** QoS of its publisher */
      readonly qos: number
      /** client that published it, `mqtt:` or `sn:` before its client id, or `http`, and `http:` before a user, of this service */
      readonly publisher?: string
      /** the publisher's user name, which need not be verified */
      readonly user?: string
      /** when; ISO 8601, UTC; absent if that was before Roost started */
      readonly published?: string
      /** seconds until it expires; absent: never */
      readonly expires_in?: number
      /** the payload, if it is UTF-8 and not longer than 128 KiB */
      readonly payload?: string
      /** the payload, if it is not longer than 1 MiB */
      readonly payload_base64?: string
      readonly properties?: {
        /** whether the payload is text (Payload Format Indicator) */
        readonly payload_format?: 'bytes' | 'utf-8'
        /** Content Type */
        readonly content_type?: string
        /** Response Topic */
        readonly response_topic?: string
        /** Correlation Data */
        readonly correlation_data?: string
        /** User Properties, in order */
        readonly user_properties?: readonly ({
          /** its name, which may repeat */
          readonly name: string
          /** its value */
          readonly value: string
        })[]
      }
    }
  }
  'DELETE /api/v1/retained/{topic}': {
    query: undefined
    body: undefined
    answer: {
      /** deleted, or to be deleted */
      readonly messages: number
      /** their size: payload, topic and properties */
      readonly bytes: number
      /** whether they were only counted */
      readonly dry_run: boolean
    }
  }
  'POST /api/v1/publish': {
    query: undefined
    body: {
      /** topic name */
      readonly topic: string
      /** the payload as text; empty if neither this nor payload_base64 is there */
      readonly payload?: string
      /** the payload as bytes */
      readonly payload_base64?: string
      /** 0 if absent */
      readonly qos?: number
      /** whether it is retained; an empty payload deletes the retained message */
      readonly retain?: boolean
      /** seconds until it expires; absent: never */
      readonly expiry?: number
      readonly properties?: {
        /** whether the payload is text (Payload Format Indicator) */
        readonly payload_format?: 'bytes' | 'utf-8'
        /** Content Type */
        readonly content_type?: string
        /** Response Topic */
        readonly response_topic?: string
        /** Correlation Data */
        readonly correlation_data?: string
        /** User Properties, in order */
        readonly user_properties?: readonly ({
          /** its name, which may repeat */
          readonly name: string
          /** its value */
          readonly value: string
        })[]
      }
    }
    answer: {
      /** sessions to which it is sent, or for which it waits */
      readonly receivers: number
    }
  }
  'GET /api/v1/notices': {
    query: {
      readonly code?: 'client-connected' | 'client-disconnected' | 'client-lost' | 'client-refused' | 'address-banned' | 'client-asleep' | 'client-takeover' | 'client-moved' | 'client-revoked' | 'session-expired' | 'will-published' | 'will-refused' | 'publish-refused' | 'publish-marked' | 'subscribe-refused' | 'request-refused' | 'condition-failed' | 'subscription-ended' | 'protocol-error' | 'malformed-packet' | 'packet-too-large' | 'malformed-datagram' | 'forwarder-refused' | 'unknown-sender' | 'retries-exhausted' | 'gateway-heard' | 'gateway-gone' | 'port-failed' | 'port-recovered' | 'queue-full' | 'message-dropped' | 'publisher-paused' | 'limit-reached' | 'store-failed' | 'store-full' | 'store-blocked' | 'store-recovered' | 'store-damaged' | 'clock-backwards' | 'clock-jumped' | 'process-paused' | 'reload-failed' | 'certificate-expires' | 'upstream-up' | 'upstream-down' | 'upstream-refused' | 'upstream-limited' | 'upstream-session-lost' | 'bridge-problem' | 'bridge-refused' | 'http-refused' | 'operator-action' | 'http-failed' | 'authentication-failed' | 'hook-failed'
      readonly client?: string
      readonly limit?: number
    }
    body: undefined
    answer: {
      readonly notices: readonly ({
        /** its number and a word for this process */
        readonly id: string
        /** ISO 8601, UTC */
        readonly time: string
        /** code of docs/notices.md */
        readonly code: 'client-connected' | 'client-disconnected' | 'client-lost' | 'client-refused' | 'address-banned' | 'client-asleep' | 'client-takeover' | 'client-moved' | 'client-revoked' | 'session-expired' | 'will-published' | 'will-refused' | 'publish-refused' | 'publish-marked' | 'subscribe-refused' | 'request-refused' | 'condition-failed' | 'subscription-ended' | 'protocol-error' | 'malformed-packet' | 'packet-too-large' | 'malformed-datagram' | 'forwarder-refused' | 'unknown-sender' | 'retries-exhausted' | 'gateway-heard' | 'gateway-gone' | 'port-failed' | 'port-recovered' | 'queue-full' | 'message-dropped' | 'publisher-paused' | 'limit-reached' | 'store-failed' | 'store-full' | 'store-blocked' | 'store-recovered' | 'store-damaged' | 'clock-backwards' | 'clock-jumped' | 'process-paused' | 'reload-failed' | 'certificate-expires' | 'upstream-up' | 'upstream-down' | 'upstream-refused' | 'upstream-limited' | 'upstream-session-lost' | 'bridge-problem' | 'bridge-refused' | 'http-refused' | 'operator-action' | 'http-failed' | 'authentication-failed' | 'hook-failed'
        /** as in the log */
        readonly level: 'debug' | 'info' | 'warn' | 'error'
        /** session: `mqtt:` or `sn:` and the client id; `http:` and a user of this service */
        readonly client?: string
        /** user name, which may be unverified */
        readonly user?: string
        /** network address */
        readonly peer?: string
        /** in plain words */
        readonly reason?: string
        /** number of occurrences; 1 if absent */
        readonly count?: number
        /** option whose limit was reached */
        readonly limit?: string
      })[]
    }
  }
  'GET /api/v1/events': {
    query: {
      readonly code?: 'client-connected' | 'client-disconnected' | 'client-lost' | 'client-refused' | 'address-banned' | 'client-asleep' | 'client-takeover' | 'client-moved' | 'client-revoked' | 'session-expired' | 'will-published' | 'will-refused' | 'publish-refused' | 'publish-marked' | 'subscribe-refused' | 'request-refused' | 'condition-failed' | 'subscription-ended' | 'protocol-error' | 'malformed-packet' | 'packet-too-large' | 'malformed-datagram' | 'forwarder-refused' | 'unknown-sender' | 'retries-exhausted' | 'gateway-heard' | 'gateway-gone' | 'port-failed' | 'port-recovered' | 'queue-full' | 'message-dropped' | 'publisher-paused' | 'limit-reached' | 'store-failed' | 'store-full' | 'store-blocked' | 'store-recovered' | 'store-damaged' | 'clock-backwards' | 'clock-jumped' | 'process-paused' | 'reload-failed' | 'certificate-expires' | 'upstream-up' | 'upstream-down' | 'upstream-refused' | 'upstream-limited' | 'upstream-session-lost' | 'bridge-problem' | 'bridge-refused' | 'http-refused' | 'operator-action' | 'http-failed' | 'authentication-failed' | 'hook-failed'
      readonly client?: string
    }
    body: undefined
    answer: undefined
  }
  'GET /api/v1/trace': {
    query: {
      readonly client?: string
      readonly topic?: string
      readonly payloads?: boolean
      readonly pcap?: boolean
    }
    body: undefined
    answer: undefined
  }
  'GET /api/v1/users': {
    query: {
      readonly q?: string
      readonly kind?: 'mqtt' | 'http' | 'sn'
      readonly cursor?: string
      readonly limit?: number
    }
    body: undefined
    answer: {
      readonly users: readonly ({
        /** `mqtt:`, `http:` or `sn:` and the user name */
        readonly id: string
        /** user name; for sensors, %c in it stands for the client id */
        readonly name: string
        /** whose user it is */
        readonly kind: 'mqtt' | 'http' | 'sn'
        /** the option that names it, or its file */
        readonly option: 'password_file' | 'http_password_file' | 'sn_users' | 'sn_username' | 'qos_m1_username'
        /** the file that it stands in */
        readonly file?: string
        /** line of its first rule in sn_users */
        readonly line?: number
        /** MQTT listeners that verify passwords by this file */
        readonly listeners?: readonly (string)[]
        /** what a user of this service may do */
        readonly role?: 'view' | 'manage'
        /** its line in the file cannot be read, so it cannot log in */
        readonly refused?: boolean
        readonly password?: {
          readonly methods: readonly ('password' | 'scram-sha-256')[]
          /** its hash has fewer rounds than one of roost passwd */
          readonly weak: boolean
          /** rounds of the hash */
          readonly rounds?: number
        }
      })[]
      /** for the next page; absent on the last one */
      readonly cursor?: string
    }
  }
  'PUT /api/v1/users/{id}/password': {
    query: {
      readonly file?: string
    }
    body: {
      /** the new password */
      readonly password: string
      /** create the user if there is none of this name */
      readonly create?: boolean
    }
    answer: {
      /** `mqtt:` or `http:` and the user name */
      readonly id: string
      /** the file that was written */
      readonly file: string
      /** the user is new */
      readonly created: boolean
    }
  }
  'DELETE /api/v1/users/{id}': {
    query: {
      readonly file?: string
    }
    body: undefined
    answer: undefined
  }
  'GET /api/v1/access': {
    query: {
      readonly client: string
      readonly user?: string
      readonly listener?: string
      readonly topic?: string
      readonly action?: 'publish' | 'subscribe' | 'receive'
    }
    body: undefined
    answer: {
      /** `mqtt:` or `sn:` and the client id */
      readonly id: string
      /** client id */
      readonly client_id: string
      /** its protocol */
      readonly protocol: 'mqtt' | 'mqtt-sn'
      /** it is connected; a sensor may be asleep */
      readonly connected: boolean
      /** its user name was verified, or follows from sn_users */
      readonly user_verified: boolean
      /** where its rules come from; token, service, login: they came with its login, and replace those of acl_file */
      readonly rules_from: 'acl_file' | 'token' | 'service' | 'login' | 'none'
      /** what holds where no rule applies */
      readonly default: 'allow' | 'deny'
      /** filtered: a filter may be wider than what may be read; whole: all that it matches must be allowed */
      readonly subscriptions: 'filtered' | 'whole'
      /** rules that are about it, patterns that do not apply included */
      readonly rule_count: number
      /** the first 1,000 */
      readonly rules: readonly ({
        /** as in acl_file */
        readonly permission: 'read' | 'write' | 'readwrite' | 'deny'
        /** false: it denies what it is about, whatever other rules allow */
        readonly allow: boolean
        /** what it is about */
        readonly actions: readonly ('publish' | 'subscribe' | 'receive')[]
        /** acl_file that it stands in */
        readonly file?: string
        /** its line there */
        readonly line?: number
        /** as written, if it is a pattern */
        readonly pattern?: string
        /** topic filter with the names of the client in it */
        readonly filter?: string
        /** why this pattern does not apply to the client */
        readonly ignored?: string
      })[]
      /** what is not known, and how it was read */
      readonly unknown: readonly (string)[]
      /** user name; absent: none */
      readonly user?: string
      /** user whose rules of acl_file apply; absent: those for clients without a user name */
      readonly rules_of_user?: string
      /** name of the listener */
      readonly listener?: string
      /** prefix of all its topics; rules are about topics with it */
      readonly mount_point?: string
      /** ban_file lists its client id or its address */
      readonly banned?: boolean
      readonly sensor_user?: {
        /** as whom it may connect now; taken: its client id would make it a user who has a password */
        readonly outcome: 'user' | 'anonymous' | 'denied' | 'banned' | 'taken'
        /** whether it may connect */
        readonly may_connect: boolean
        /** user name */
        readonly user?: string
        /** what names this user */
        readonly option?: 'sn_users' | 'sn_username'
        /** sn_users */
        readonly file?: string
        /** line of the rule in it */
        readonly line?: number
      }
      readonly answer?: {
        /** what was asked for */
        readonly action: 'publish' | 'subscribe' | 'receive'
        /** what was asked for */
        readonly topic: string
        /** it may */
        readonly allowed: boolean
        /** in one sentence */
        readonly why?: string
        /** topic filter of the rule that decides */
        readonly filter?: string
        /** acl_file that it stands in */
        readonly file?: string
        /** its line there */
        readonly line?: number
        /** as written, if it is a pattern */
        readonly pattern?: string
        /** as in acl_file */
        readonly permission?: 'read' | 'write' | 'readwrite' | 'deny'
        /** the subscription is granted, and not everything that it matches is delivered */
        readonly partial?: boolean
      }
    }
  }
  'GET /api/v1/session': {
    query: undefined
    body: undefined
    answer: {
      /** what the user may do */
      readonly role: 'view' | 'manage'
      /** for the header X-CSRF-Token; valid until Roost ends */
      readonly csrf_token: string
      /** user name; absent where no login is needed, and for tokens */
      readonly user?: string
      /** how the user has logged in; absent where no login is needed */
      readonly login?: 'password' | 'token'
    }
  }
  'POST /api/v1/session': {
    query: undefined
    body: undefined
    answer: {
      /** what the user may do */
      readonly role: 'view' | 'manage'
      /** for the header X-CSRF-Token; valid until Roost ends */
      readonly csrf_token: string
      /** user name; absent where no login is needed, and for tokens */
      readonly user?: string
      /** how the user has logged in; absent where no login is needed */
      readonly login?: 'password' | 'token'
    }
  }
  'DELETE /api/v1/session': {
    query: undefined
    body: undefined
    answer: undefined
  }
  'GET /api/v1/config': {
    query: undefined
    body: undefined
    answer: {
      /** options of the process */
      readonly options: Readonly<Record<string, unknown>>
      readonly listeners: readonly (Readonly<Record<string, unknown>>)[]
      readonly sn_listeners: readonly (Readonly<Record<string, unknown>>)[]
      readonly bridges: readonly (Readonly<Record<string, unknown>>)[]
      readonly types: readonly ({
        /** name of the type */
        readonly name: string
        readonly topics: readonly (string)[]
        /** what happens to messages that do not fit */
        readonly invalid: 'refuse' | 'mark'
        /** how messages of MQTT 3 clients are refused */
        readonly invalid_mqtt3: 'acknowledge' | 'close'
        /** content type of messages whose publisher gives none */
        readonly content_type?: string
        readonly form?: readonly ('schema' | 'layout')[]
      })[]
      readonly filters: readonly ({
        /** condition, in CEL */
        readonly filter: string
        /** pattern of client ids */
        readonly client?: string
        /** user name */
        readonly user?: string
        /** topic filter */
        readonly topic?: string
      })[]
      readonly predefined_topics: readonly ({
        /** pattern of client ids */
        readonly clients: string
        /** how many there are */
        readonly topic_ids: number
      })[]
      /** the cluster at which sensors have their sessions */
      readonly upstream?: Readonly<Record<string, unknown>>
    }
  }
  'POST /api/v1/reload': {
    query: undefined
    body: undefined
    answer: {
      readonly warnings: readonly (string)[]
    }
  }
  'GET /api/v1/openapi.json': {
    query: undefined
    body: undefined
    answer: {
      /** 3.1.0 */
      readonly openapi: string
    }
  }
}
