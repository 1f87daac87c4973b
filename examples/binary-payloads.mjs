// Binary payloads of sensors made into JSON. A sensor that lives for years on a coin cell sends 4 bytes; everybody else would like
// to read {"temperature":21.5,"humidity":40,"battery":3.1}. The hook onPublish translates before anybody gets the message, also
// before it is retained, and refuses what is not a reading.
//
//   npm install ./roost-mqtt-*.tgz
//   node binary-payloads.mjs
//
// A sensor in one line of bash, which needs no connection: an MQTT-SN PUBLISH with QoS -1 to the short topic `r1`:
//   printf '\x0b\x0c\x62r1\x00\x00\x08\x66\x28\x1f' > /dev/udp/127.0.0.1/1884

import { start } from 'roost-mqtt'

const { PORT = 1883, SN_PORT = 1884 } = process.env

/** Topics of readings; all others pass as they are. `r1`: a short topic of MQTT-SN, which has two characters. */
const READINGS = /^(site\/[^/]+\/reading|r\d)$/
const PAYLOAD_FORMAT_INVALID = 0x99

/** Hundredths of a degree Celsius (16 bits, signed), per cent of relative humidity, tenths of a volt. Big-endian. */
function readingOf(payload) {
  if (payload.length !== 4) return undefined
  return { temperature: payload.readInt16BE(0) / 100, humidity: payload[2], battery: payload[3] / 10 }
}

const roost = await start({
  port: Number(PORT),
  snPort: Number(SN_PORT),
  onPublish({ topic, payload, kind }) {
    if (kind !== 'sn' || !READINGS.test(topic)) return
    const reading = readingOf(payload)
    if (reading === undefined) return { reasonCode: PAYLOAD_FORMAT_INVALID }
    return {
      payload: JSON.stringify(reading),
      properties: { contentType: 'application/json', payloadFormatIndicator: 1 },
    }
  },
})
await roost.subscribe('#', ({ topic, payload }) => console.log(topic, payload.toString()))
console.log(`sensors on ${roost.urls.sn}, readers on ${roost.urls.mqtt}`)

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => roost.stop())
