import { connect, type Socket } from 'node:net'

/** Until it connects to its node again, ms: not so soon that it takes the port of a node that is down. */
const PAUSE_MS = 250

/** A message inside NATS. */
export interface Passed {
  readonly subject: string
  /** Where JetStream is asked to say that it has stored it. */
  readonly reply: string
  readonly text: string
}

/** A client of one node, over the protocol of NATS, that sees what MQTT hands to JetStream, and what JetStream answers. */
export class NatsWitness {
  passed: Passed[] = []
  readonly #port: number
  #isOver = false
  #socket: Socket | undefined

  constructor(port: number) {
    this.#port = port
    this.#connect()
  }

  #connect(): void {
    if (this.#isOver) return
    const socket = connect(this.#port, '127.0.0.1')
    this.#socket = socket
    let held: Buffer = Buffer.alloc(0)
    socket.on('connect', () => socket.write('CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\nSUB $MQTT.> 1\r\n'))
    socket.on('data', (bytes: Buffer) => {
      held = this.#read(socket, Buffer.concat([held, bytes]))
    })
    socket.on('error', () => {})
    socket.on('close', () => setTimeout(() => this.#connect(), PAUSE_MS).unref())
  }

  /** Returns what is left behind the last complete message. */
  #read(socket: Socket, bytes: Buffer): Buffer {
    for (let from = 0; ; ) {
      const end = bytes.indexOf('\r\n', from)
      if (end < 0) return bytes.subarray(from)
      // MSG subject sid [reply] bytes, or HMSG subject sid [reply] header-bytes bytes.
      const [verb, subject = '', , ...rest] = bytes.toString('utf8', from, end).split(' ')
      let next = end + 2
      if (verb === 'MSG' || verb === 'HMSG') {
        const sizes = verb === 'HMSG' ? 2 : 1
        const size = Number(rest.at(-1))
        if (bytes.length < next + size + 2) return bytes.subarray(from)
        const head = verb === 'HMSG' ? Number(rest.at(-2)) : 0
        const reply = rest.length > sizes ? rest[0]! : ''
        this.passed.push({ subject, reply, text: bytes.toString('utf8', next + head, next + size) })
        next += size + 2
      } else if (verb === 'PING') socket.write('PONG\r\n')
      from = next
    }
  }

  stop(): void {
    this.#isOver = true
    this.#socket?.destroy()
  }
}

/** What JetStream was asked to store with this text, and what it answered. Copies and deliveries to subscribers are other messages. */
export function traceOf(text: string, passed: readonly Passed[]): string[] {
  const asked = new Map(
    passed.filter((each) => each.text === text && each.reply !== '').map((each) => [each.reply, each.subject]),
  )
  return [...asked].map(([reply, subject]) => {
    const answer = passed.find((each) => each.subject === reply)
    return `NATS, "${text}" as ${subject}: ${answer === undefined ? 'JetStream was not heard to store it' : `JetStream answered ${answer.text}`}`
  })
}
