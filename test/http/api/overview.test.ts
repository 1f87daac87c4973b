import { expect, test } from 'vitest'
import { connectSensor, pass, TestApi } from '../harness.ts'

test('counts what sensors are sent again, and says which port has airtime', () => {
  const api = new TestApi()
  const sensor = connectSensor(api, 'sensor-7')
  sensor.act((client, now) => client.subscribe(now, 'a', 1))
  pass(api, 1000)
  const { body } = api.ask('GET', '/api/v1/overview')
  expect(body).toMatchObject({ sensors: { active: 1, lost: 0 }, retransmissions: 0, queued_frames: 0 })
  // The port of the simulation has no data rate.
  expect(body.airtime).toEqual([])
})
