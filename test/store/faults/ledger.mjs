// Programs for power-cut.test.ts that acknowledge entries. Some do so too early: argv is the directory and a name from PROGRAMS.
import fs from 'node:fs'
import { join } from 'node:path'

const [, , dir, program] = process.argv
const ENTRIES = 12
const acks = fs.openSync(join(dir, 'acks'), 'a')
const ack = (i) => fs.writeSync(acks, `${i}\n`)

/** Longer than a sector, so that it can be torn. */
const entry = (i) => `<${i} ${'x'.repeat(700)} ${i}>`

function syncDirectory() {
  const fd = fs.openSync(dir, 'r')
  fs.fsyncSync(fd)
  fs.closeSync(fd)
}

/** Appends to one file. `steps` are carried out in order for each entry. */
function log(...steps) {
  const fd = fs.openSync(join(dir, 'log'), 'a')
  const STEPS = {
    write: (i) => fs.writeSync(fd, entry(i)),
    sync: () => fs.fsyncSync(fd),
    ack,
    /** Ignores errors, as a program does that hopes that the next sync will succeed. */
    'careless-sync': () => {
      try {
        fs.fsyncSync(fd)
      } catch {}
    },
  }
  for (let i = 0; i < ENTRIES; i++) for (const step of steps) STEPS[step](i)
}

/** Replaces a file that has all entries. */
function replace(...steps) {
  const target = join(dir, 'log')
  const temporary = join(dir, 'log.new')
  let text = ''
  const STEPS = {
    write: (i) => {
      text += entry(i)
      fs.writeFileSync(temporary, text)
    },
    sync: () => {
      const fd = fs.openSync(temporary, 'r+')
      fs.fsyncSync(fd)
      fs.closeSync(fd)
    },
    rename: () => fs.renameSync(temporary, target),
    'sync-directory': syncDirectory,
    ack,
  }
  for (let i = 0; i < ENTRIES; i++) for (const step of steps) STEPS[step](i)
}

const PROGRAMS = {
  log: () => log('write', 'sync', 'ack'),
  'log-acknowledged-early': () => log('write', 'ack', 'sync'),
  'log-never-synced': () => log('write', 'ack'),
  'log-failed-sync-repeated': () => log('write', 'careless-sync', 'sync', 'ack'),
  replace: () => replace('write', 'sync', 'rename', 'sync-directory', 'ack'),
  'replace-file-not-synced': () => replace('write', 'rename', 'sync-directory', 'ack'),
  'replace-directory-not-synced': () => replace('write', 'sync', 'rename', 'ack'),
}

PROGRAMS[program]()
