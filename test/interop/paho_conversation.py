"""One conversation of two paho clients with the broker: QoS 0 to 2, retained, will, properties, a session that lasts.

paho_conversation.py <tcp|websockets> <port> <3|4|5> [ca.crt client.crt client.key]: prints one line for each check, and ends with 1 at the first that fails.
"""

import ssl
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

transport, port, version, *tls = sys.argv[1:]
FIVE = version == "5"


class Client:
    def __init__(self, name, clean=True, will=None):
        extra = {} if FIVE else {"clean_session": clean}
        self.client = mqtt.Client(name, protocol=int(version), transport=transport, **extra)
        if transport == "websockets":
            self.client.ws_set_options(path="/mqtt")
        if tls:
            self.client.tls_set(tls[0], tls[1], tls[2], tls_version=ssl.PROTOCOL_TLS_CLIENT)
        if will:
            self.client.will_set(*will)
        self.messages = []
        self.changed = threading.Condition()
        self.connected = None
        self.acknowledged = set()
        self.client.on_connect = self.on_connect
        self.client.on_message = self.on_message
        self.client.on_subscribe = self.on_acknowledged
        self.client.on_publish = lambda _client, _data, mid: self.on_acknowledged(None, None, mid, None)
        options = {}
        if FIVE:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if clean else 3600
            properties.TopicAliasMaximum = 5
            options = {"clean_start": clean, "properties": properties}
        self.client.connect("localhost", int(port), **options)
        self.client.loop_start()
        self.until(lambda: self.connected is not None)
        check(f"{name} is connected", self.connected[0] == 0)

    def on_connect(self, _client, _data, flags, code, _properties=None):
        with self.changed:
            self.connected = (code if isinstance(code, int) else code.value, flags["session present"])
            self.changed.notify_all()

    def on_message(self, _client, _data, message):
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    def on_acknowledged(self, _client, _data, mid, _codes, _properties=None):
        with self.changed:
            self.acknowledged.add(mid)
            self.changed.notify_all()

    def until(self, condition):
        with self.changed:
            if not self.changed.wait_for(condition, 10):
                check("an answer within 10 s", False)

    def subscribe(self, topic, qos):
        _result, mid = self.client.subscribe(topic, qos)
        self.until(lambda: mid in self.acknowledged)

    def publish(self, topic, payload, qos, **options):
        mid = self.client.publish(topic, payload, qos, **options).mid
        self.until(lambda: mid in self.acknowledged)

    def next(self):
        self.until(lambda: self.messages)
        return self.messages.pop(0)

    def stop(self):
        self.client.disconnect()
        self.client.loop_stop()

    def vanish(self):
        """Closes the connection without DISCONNECT."""
        self.client.loop_stop()
        self.client._sock_close()


def check(what, holds):
    print(("ok " if holds else "FAILED ") + what, flush=True)
    if not holds:
        sys.exit(1)


base = f"paho/{transport}/{version}/{'tls' if tls else 'plain'}"
name = base.replace("/", "-")
subscriber = Client(f"{name}-sub")
subscriber.subscribe(f"{base}/#", 2)
publisher = Client(f"{name}-pub")
for qos in (0, 1, 2):
    publisher.publish(f"{base}/qos{qos}", f"with {qos}", qos)
    message = subscriber.next()
    check(f"QoS {qos}", (message.topic, message.payload, message.qos) == (f"{base}/qos{qos}", f"with {qos}".encode(), qos))
large = bytes(range(256)) * 1024
publisher.publish(f"{base}/large", large, 1)
check("256 KiB", subscriber.next().payload == large)

publisher.publish(f"{base}/kept", "state", 1, retain=True)
check("live, without retain", not subscriber.next().retain)
late = Client(f"{name}-late")
late.subscribe(f"{base}/kept", 1)
check("retained", late.next().retain)
late.stop()
publisher.publish(f"{base}/kept", b"", 1, retain=True)
check("cleared", subscriber.next().payload == b"")

mortal = Client(f"{name}-mortal", will=(f"{base}/will", "gone", 1, False))
mortal.vanish()
check("will", subscriber.next().payload == b"gone")

lasting = Client(f"{name}-lasting", clean=False)
lasting.subscribe(f"{base}/queue", 1)
lasting.stop()
publisher.publish(f"{base}/queue", "while away", 1)
subscriber.next()
again = Client(f"{name}-lasting", clean=False)
# MQTT 3.1 has no such flag.
check("session present", again.connected[1] == (0 if version == "3" else 1))
check("what came while away", again.next().payload == b"while away")
again.stop()

if FIVE:
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("a", "1"), ("b", "2"), ("a", "3")]
    properties.ResponseTopic = "answers"
    properties.CorrelationData = b"\x00\xff"
    properties.ContentType = "text/plain"
    properties.MessageExpiryInterval = 60
    publisher.publish(f"{base}/properties", "x", 1, properties=properties)
    got = subscriber.next().properties
    check("user properties in order", got.UserProperty == [("a", "1"), ("b", "2"), ("a", "3")])
    check("request and response", (got.ResponseTopic, got.CorrelationData) == ("answers", b"\x00\xff"))
    check("content type and expiry", got.ContentType == "text/plain" and 0 < got.MessageExpiryInterval <= 60)
    for _ in range(3):
        publisher.publish(f"{base}/alias-of-a-long-topic", "same", 1)
        check("a topic behind an alias", subscriber.next().topic == f"{base}/alias-of-a-long-topic")

publisher.stop()
subscriber.stop()
