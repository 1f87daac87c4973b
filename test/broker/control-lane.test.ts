import fc from 'fast-check'
import { expect, it } from 'vitest'
import { ControlLane } from '../../src/broker/control-lane.ts'
import { type Outgoing, OutgoingType } from '../../src/mqtt/link.ts'

const packet = (reasonCode: number): Outgoing => ({
  type: OutgoingType.CLOSE,
  reasonCode,
  disconnect: false,
  reason: undefined,
})

it('is a queue of packets and gates', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('push', 'push', 'shift', 'shift', 'clear'), { maxLength: 30 }), (steps) => {
      const lane = new ControlLane()
      const model: { readonly packet: Outgoing; readonly gate: number }[] = []
      for (const [i, step] of steps.entries()) {
        if (step === 'push') {
          const each = { packet: packet(i), gate: 100 + i }
          model.push(each)
          lane.push(each.packet, each.gate)
        } else if (step === 'shift') expect(lane.shift()).toBe(model.shift()?.packet)
        else {
          lane.clear()
          model.length = 0
        }
        expect([lane.length, lane.first, lane.gate]).toEqual([model.length, model[0]?.packet, model[0]?.gate])
      }
    }),
  )
})
