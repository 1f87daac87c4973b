import { SiteChecker } from './checker.ts'

/** A sleeper hears nothing but answers outside its awake periods; the world itself looks at that. */
export class RadioSilence extends SiteChecker {
  readonly name = 'radio silence'

  look(): void {
    for (const what of this.site.world.violations.splice(0)) this.tell(what)
  }
}
