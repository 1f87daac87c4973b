// Users and their rights from a SQLite database that the application has anyway. `authenticate` may take its time, so it reads the
// database and hashes the password; `authorize` is asked for each message, so it looks at what was read at login. Who is removed
// from the database is refused at the next login, and `roost.disconnect` ends the connection that is there.
//
//   npm install ./roost-mqtt-*.tgz            # on Node.js 20 also: npm install better-sqlite3
//   node users-from-sqlite.mjs users.db add alice secret 'home/#'
//   node users-from-sqlite.mjs users.db
//   mosquitto_pub -u alice -P secret -t home/light -m on

import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { start } from 'roost-mqtt'

const { PORT = 1883, SN_PORT = 1884 } = process.env
const [path = 'users.db', command, ...values] = process.argv.slice(2)
/** For unknown users, so that their refusal takes as long as that of a wrong password. */
const NOBODY = { salt: randomBytes(16), hash: randomBytes(32) }

const database = await open(path)
database.exec(`CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, salt BLOB, hash BLOB, filter TEXT) STRICT`)
if (command === 'add') await add(...values)
else await serve()

/** node:sqlite where there is one, from Node.js 22.13 on. */
async function open(file) {
  const sqlite = process.getBuiltinModule('node:sqlite')
  if (sqlite !== undefined) return new sqlite.DatabaseSync(file)
  const { default: Database } = await import('better-sqlite3')
  return new Database(file)
}

/** The password as it is stored: a slow hash, so that a stolen database does not give the passwords away. */
async function hashOf(password, salt) {
  return Buffer.from(await promisify(scrypt)(password, salt, 32))
}

/** Adds a user who may publish and subscribe to the topics below a filter. */
async function add(name, password, filter) {
  if (!filter?.endsWith('/#')) throw new Error('usage: users-from-sqlite.mjs FILE add NAME PASSWORD FILTER, such as home/#')
  const salt = randomBytes(16)
  const hash = await hashOf(password, salt)
  database.prepare('INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?)').run(name, salt, hash, filter)
  console.log(`${name}: ${filter}`)
}

/** `home/` of `home/#`. */
function prefixOf(filter) {
  return filter.slice(0, -1)
}

async function serve() {
  const find = database.prepare('SELECT salt, hash, filter FROM users WHERE name = ?')
  /** The topics of each user, as a prefix: `home/`. Read now for those with a session, and again at each login. */
  const prefixes = new Map(
    database
      .prepare('SELECT name, filter FROM users')
      .all()
      .map(({ name, filter }) => [name, prefixOf(filter)]),
  )

  const roost = await start({
    port: Number(PORT),
    snPort: Number(SN_PORT),
    async authenticate({ username, password }) {
      if (username === undefined || password === undefined) return false
      const user = find.get(username) ?? NOBODY
      if (!timingSafeEqual(await hashOf(password, user.salt), user.hash)) return false
      prefixes.set(username, prefixOf(user.filter))
      return true
    },
    authorize: ({ username, topic }) => topic.startsWith(prefixes.get(username) ?? '\0'),
  })
  console.log(`users of ${path} on ${roost.urls.mqtt}`)

  for (const signal of ['SIGINT', 'SIGTERM'])
    process.once(signal, async () => {
      await roost.stop()
      database.close()
    })
}
