import type { ComponentType } from 'preact'
import { ClientsPage } from '../pages/clients.tsx'
import { ConfigurationPage } from '../pages/configuration/index.tsx'
import { NoticesPage } from '../pages/notices.tsx'
import { OverviewPage } from '../pages/overview.tsx'
import { PublishPage } from '../pages/publish/index.tsx'
import { SensorsPage } from '../pages/sensors.tsx'
import { TopicsPage } from '../pages/topics/index.tsx'
import { TracePage } from '../pages/trace.tsx'
import { UsersPage } from '../pages/users/index.tsx'
import type { IconName } from '../parts/icons.tsx'

export interface PageProps {
  /** What follows the name of the page in the address: the id of a sensor, for example. */
  readonly path: readonly string[]
}

export interface Page {
  /** First part of its address: `#/sensors`. */
  readonly name: string
  readonly title: string
  readonly icon: IconName
  readonly render: ComponentType<PageProps>
}

export const PAGES: readonly Page[] = [
  { name: 'overview', title: 'Overview', icon: 'overview', render: OverviewPage },
  { name: 'sensors', title: 'Sensors', icon: 'sensors', render: SensorsPage },
  { name: 'clients', title: 'MQTT clients', icon: 'clients', render: ClientsPage },
  { name: 'topics', title: 'Topics', icon: 'topics', render: TopicsPage },
  { name: 'trace', title: 'Trace', icon: 'trace', render: TracePage },
  { name: 'publish', title: 'Publish', icon: 'publish', render: PublishPage },
  { name: 'notices', title: 'Notices', icon: 'notices', render: NoticesPage },
  { name: 'users', title: 'Users and access', icon: 'users', render: UsersPage },
  { name: 'configuration', title: 'Configuration', icon: 'configuration', render: ConfigurationPage },
]

/** The overview where there is no such page. */
export const pageOf = ([name]: readonly string[]): Page => PAGES.find((page) => page.name === name) ?? PAGES[0]!
