import { where } from '../lib/route.ts'
import { SensorList } from './sensors/list.tsx'
import { SensorPage } from './sensors/sensor.tsx'

/** All sensors, or one: `#/sensors/sn%3Asensor-7`. */
export function SensorsPage() {
  const id = where.value.path[1]
  return id === undefined ? <SensorList /> : <SensorPage id={id} />
}
