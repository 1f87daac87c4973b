// The health check of the image: exit code 0 if Roost in this container is ready. ROOST_HTTP: its address, if it is not the default.
const url = new URL('/readyz', process.env.ROOST_HTTP ?? 'http://127.0.0.1:1885')
try {
  const response = await fetch(url, { signal: AbortSignal.timeout(4000) })
  const text = (await response.text()).trim()
  if (!response.ok) throw new Error(`${response.status} ${text}`)
} catch (error) {
  process.stderr.write(`${url}: ${error.cause?.message ?? error.message}\n`)
  process.exitCode = 1
}
