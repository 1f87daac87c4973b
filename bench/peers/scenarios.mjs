// What is measured: for each scenario, the load generator and its arguments, in words what they do, and which figures count.

/** Figures of each mode of the generators. `less`: fewer is better. */
export const FIGURES = {
  flow: [{ key: 'del_per_cpu_s', name: 'delivered' }],
  pub: [{ key: 'del_per_cpu_s', name: 'delivered' }],
  sub: [{ key: 'del_per_cpu_s', name: 'delivered' }],
  sn2sn: [{ key: 'del_per_cpu_s', name: 'delivered' }],
  idle: [
    { key: 'bytes_per_conn', name: 'bytes per connection', less: true },
    { key: 'bytes_per_client', name: 'bytes per client', less: true },
    { key: 'connect_per_cpu_s', name: 'connects' },
  ],
  storm: [{ key: 'connect_per_cpu_s', name: 'connects' }],
  retained: [
    { key: 'store_per_cpu_s', name: 'stored' },
    { key: 'read_per_cpu_s', name: 'read' },
    { key: 'bytes_per_retained', name: 'bytes per message', less: true },
  ],
  sleep: [
    { key: 'bytes_per_asleep', name: 'bytes per sleeping client', less: true },
    { key: 'bytes_per_buffered_msg', name: 'bytes per buffered message', less: true },
    { key: 'buffer_per_cpu_s', name: 'buffered' },
    { key: 'drain_per_cpu_s', name: 'drained' },
  ],
}

/** Name: arguments of bench/load/mqttload.c, description. `W`: messages of one publisher that may be outstanding. */
export const MQTT = {
  '1to1-q0': ['flow -s 1to1 -q 0 -W 256', 'one publisher, one subscriber, QoS 0, W = 256'],
  '1to1-q0-w16': ['flow -s 1to1 -q 0 -W 16', 'one publisher, one subscriber, QoS 0, W = 16'],
  '1to1-q0-4k': ['flow -s 1to1 -q 0 -W 64 -l 4096', 'one publisher, one subscriber, payloads of 4 KiB, QoS 0, W = 64'],
  '1to1-q1': ['flow -s 1to1 -q 1 -W 64', 'one publisher, one subscriber, QoS 1, W = 64'],
  '1to1-q2': ['flow -s 1to1 -q 2 -W 16', 'one publisher, one subscriber, QoS 2, W = 16'],
  'fanin50-q0': ['flow -s fanin -P 50 -S 1 -q 0 -W 8', '50 publishers, one subscriber with a wildcard filter, QoS 0, W = 8'],
  'fanout50-q0': ['flow -s fanout -S 50 -q 0 -W 16', 'one publisher, 50 subscribers, QoS 0, W = 16'],
  'fanout1000-q0': ['flow -s fanout -S 1000 -q 0 -W 4', 'one publisher, 1,000 subscribers, QoS 0, W = 4'],
  'mesh20-q0': ['flow -s mesh -P 20 -S 20 -q 0 -W 8', '20 publishers, 20 subscribers to all of them, QoS 0, W = 8'],
  'mesh20-q1': ['flow -s mesh -P 20 -S 20 -q 1 -W 1', '20 publishers, 20 subscribers to all of them, QoS 1, W = 1'],
  'pairs100-q0-w16': ['flow -s pairs -P 100 -q 0 -W 16', '100 publishers with a subscriber each, QoS 0, W = 16'],
  'pairs100-q0-w1': [
    'flow -s pairs -P 100 -q 0 -W 1',
    '100 publishers with a subscriber each, QoS 0, W = 1: nothing can be batched',
  ],
  'pairs100-q1-w1': ['flow -s pairs -P 100 -q 1 -W 1', '100 publishers with a subscriber each, QoS 1, W = 1'],
  'topics1k-filters5k': [
    'flow -s 1to1 -q 0 -W 256 -M 1000 -F 5000',
    'one publisher, one subscriber, 1,000 topics in turn beside 5,000 filters that match none of them, QoS 0, W = 256',
  ],
  'lat-20k': [
    'flow -s pairs -P 20 -q 0 -r 20000',
    '20 publishers with a subscriber each, 20,000 messages a second in total, QoS 0',
  ],
  retained: ['retained -R 10000 -S 5 -W 200', '10,000 retained messages are stored, then 5 subscribers read all of them'],
  storm: ['storm -n 20000 -C 100', '20,000 times: TCP connection, CONNECT, CONNACK, DISCONNECT; 100 at a time'],
  idle9k: ['idle -K 9000 -C 200', '9,000 connections without traffic, 200 opened at a time'],
}

/** Not in the page unless asked for by name. */
export const MQTT_MORE = {
  '1to1-q0-w1': ['flow -s 1to1 -q 0 -W 1', 'one publisher, one subscriber, QoS 0, W = 1'],
  'fanin50-q0-w1': ['flow -s fanin -P 50 -S 1 -q 0 -W 1', '50 publishers, one subscriber with a wildcard filter, QoS 0, W = 1'],
  'fanin50-q1-w1': ['flow -s fanin -P 50 -S 1 -q 1 -W 1', '50 publishers, one subscriber with a wildcard filter, QoS 1, W = 1'],
  'fanout50-q1': ['flow -s fanout -S 50 -q 1 -W 8', 'one publisher, 50 subscribers, QoS 1, W = 8'],
  'lat-2k': ['flow -s 1to1 -q 0 -r 2000', 'one publisher, one subscriber, 2,000 messages a second, QoS 0'],
  'idle9k-sub': ['idle -K 9000 -C 200 -u', '9,000 connections with a subscription each, without traffic'],
}

/** Name: arguments of bench/load/snload.c, description. */
export const SN = {
  'sn-qm1': ['pub -N 20 -q -1 -W 1 -A 23000', '20 sensors publish with QoS -1 to an MQTT subscriber, W = 1'],
  'sn-q0': ['pub -N 50 -q 0 -W 1', '50 sensors publish with QoS 0 to an MQTT subscriber, W = 1'],
  'sn-q1': ['pub -N 50 -q 1 -W 1', '50 sensors publish with QoS 1 to an MQTT subscriber, W = 1'],
  'sn-q2': ['pub -N 50 -q 2 -W 1', '50 sensors publish with QoS 2 to an MQTT subscriber, W = 1'],
  'sn-sub-q0': ['sub -N 50 -q 0 -W 64', 'an MQTT publisher to 50 sensors with a topic each, QoS 0, W = 64'],
  'sn-sub-q1-w1': [
    'sub -N 50 -q 1 -W 25',
    'an MQTT publisher to 50 sensors with a topic each, QoS 1, W = 25: at most one outstanding for a sensor',
  ],
  'sn-sn2sn-q1': ['sn2sn -N 50 -q 1 -W 1', '50 sensors publish to 50 others, in pairs, QoS 1, W = 1'],
  'sn-lat-2k': ['pub -N 20 -q 0 -r 2000', '20 sensors, 2,000 messages a second in total, QoS 0, to an MQTT subscriber'],
  'sn-storm': ['storm -n 50000 -C 20', '50,000 times: new UDP port, CONNECT, CONNACK, DISCONNECT; 20 at a time'],
  'sn-idle-sub': ['idle -N 15000 -C 20 -u', '15,000 connected sensors with a subscription each, without traffic'],
}

export const SN_MORE = {
  'sn-q0-w8': ['pub -N 20 -q 0 -W 8', '20 sensors publish with QoS 0 to an MQTT subscriber, W = 8'],
  'sn-q1-n1': ['pub -N 1 -q 1 -W 1', 'one sensor publishes with QoS 1 to an MQTT subscriber, W = 1'],
  'sn-q1-n1000': ['pub -N 1000 -q 1 -W 1', '1,000 sensors publish with QoS 1 to an MQTT subscriber, W = 1'],
  'sn-sub-q1': ['sub -N 50 -q 1 -W 64', 'an MQTT publisher to 50 sensors with a topic each, QoS 1, W = 64'],
  'sn-subfan-q0': ['sub -N 50 -a -q 0 -W 2', 'an MQTT publisher to 50 sensors with the same topic, QoS 0, W = 2'],
  'sn-idle': ['idle -N 15000 -C 20', '15,000 connected sensors without traffic'],
  'sn-sleep-q1': [
    'sleep -N 1000 -m 10 -q 1 -C 20 -i 300',
    '1,000 sensors fall asleep, 10 QoS 1 messages are buffered for each, then each is woken and drained, 20 at a time',
  ],
  'sn-sleep-q0': [
    'sleep -N 1000 -m 10 -q 0 -C 20 -i 300',
    '1,000 sensors fall asleep, 10 QoS 0 messages are buffered for each, then each is woken and drained',
  ],
}

export const ALL = { ...MQTT, ...MQTT_MORE, ...SN, ...SN_MORE }
export const isSn = (name) => name.startsWith('sn-')
