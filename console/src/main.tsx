import { render } from 'preact'
import './lib/theme.ts'
import { App } from './shell/app.tsx'
import './style/base.css'
import './style/shell.css'
import './style/parts.css'
import './style/pages.css'
import './style/trace.css'
import './style/topics.css'
import './style/browse.css'

render(<App />, document.getElementById('app')!)
