import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { OPEN_FILES_MIN } from '../../src/process/open-files.ts'
import { MAIN, StartedProcess } from './started-process.ts'

const CONNECT = Buffer.from('100c00044d5154540402003c0000', 'hex')
/** Enough for Node.js to load all modules. */
const LIMIT = 320

test.runIf(process.platform === 'linux')(
  'a process without free descriptors refuses connections with a line and a count, and serves those that it has',
  async () => {
    const roost = await StartedProcess.startLimited(LIMIT, '--memory', '--max-connections', '1000')
    const sockets: Socket[] = []
    const open = async (): Promise<Socket> => {
      const socket = connect(roost.mqttPort, '127.0.0.1')
      socket.on('error', () => {})
      sockets.push(socket)
      await once(socket, 'connect')
      return socket
    }
    try {
      expect(roost.levels).toContainEqual(
        expect.stringMatching(/^warn max_connections is 1000, but this process may open only 320 files and sockets/),
      )
      const first = await open()
      first.write(CONNECT)
      expect(((await once(first, 'data')) as [Buffer])[0].toString('hex')).toBe('20020000')
      const others = await Promise.all(Array.from({ length: LIMIT }, open))
      await roost.logged(/^warn limit-reached at 127\.0\.0\.1:\d+: listener mqtt-0: refused, .* \(open_files\)$/)
      first.write(Buffer.from('c000', 'hex'))
      expect(((await once(first, 'data')) as [Buffer])[0].toString('hex')).toBe('d000')
      // With descriptors free again, connections are accepted again.
      for (const socket of others) socket.destroy()
      for (;;) {
        const again = await open()
        again.write(CONNECT)
        const answer = await Promise.race([once(again, 'data'), once(again, 'close')])
        if (answer[0] instanceof Buffer) break
      }
    } finally {
      for (const socket of sockets) socket.destroy()
      await roost.stop()
    }
  },
)

describe.runIf(process.platform === 'linux')('the number of files that a process may open', () => {
  test.each([40, 100, OPEN_FILES_MIN - 1])('%i: it does not start, with one line and exit code 2', (openFiles) => {
    const argv = ['-c', `ulimit -n ${openFiles} && exec "$@"`, 'sh', process.execPath, MAIN, 'serve', '--memory']
    const { status, stdout, stderr } = spawnSync('sh', argv, { encoding: 'utf8' })
    expect({ status, stdout, stderr }).toEqual({
      status: 2,
      stdout: '',
      stderr: `this process may open only ${openFiles} files and sockets, and Roost needs ${OPEN_FILES_MIN}: raise that (ulimit -n, or LimitNOFILE= of systemd)\n`,
    })
  })

  test('the least is enough to start and to serve, with a store', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'roost-descriptors-'))
    const roost = await StartedProcess.startLimited(OPEN_FILES_MIN, '--data-dir', directory)
    try {
      const socket = connect(roost.mqttPort, '127.0.0.1')
      socket.write(CONNECT)
      expect(((await once(socket, 'data')) as [Buffer])[0].toString('hex')).toBe('20020000')
      socket.destroy()
    } finally {
      expect(await roost.stop()).toBe(0)
      rmSync(directory, { recursive: true })
    }
  })
})

test('SIGUSR1 writes a checkpoint and SIGUSR2 logs clients; neither ends the process nor opens a debugger', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'roost-signals-'))
  const roost = await StartedProcess.start('--data-dir', directory)
  try {
    const socket = connect(roost.mqttPort, '127.0.0.1')
    socket.write(CONNECT)
    await once(socket, 'data')
    roost.child.kill('SIGUSR1')
    await roost.logged(/^info SIGUSR1: writing a checkpoint of the store$/)
    await roost.logged(/^info SIGUSR1: everything is written to /)
    roost.child.kill('SIGUSR2')
    await roost.logged(/^info SIGUSR2: mqtt:\S+ at 127\.0\.0\.1:\d+: connected, 0 subscriptions, 0 messages$/)
    await roost.logged(/^info SIGUSR2: 1 client, 1 connected, 0 subscriptions, 0 messages, 0 retained$/)
    expect(roost.isRunning).toBe(true)
    socket.destroy()
  } finally {
    expect(await roost.stop()).toBe(0)
    rmSync(directory, { recursive: true })
  }
})
