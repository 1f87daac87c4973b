/** Plugins that come with Mosquitto 2.1 and do what an option does here. */
export type KnownPlugin = 'password_file' | 'acl_file' | 'persist_sqlite'

/** Returns the plugin in the path of a `plugin`, `global_plugin` or `plugin_load`; `undefined` if it is any other. */
export const knownPlugin = (value: string): KnownPlugin | undefined =>
  /(?:^|[\\/\s])(?:lib)?mosquitto_(password_file|acl_file|persist_sqlite)\.(?:so|dll|dylib)$/.exec(value)?.[1] as
    | KnownPlugin
    | undefined

/** Settings that load a plugin. */
export const loadsPlugin = (name: string): boolean => /^(plugin|global_plugin|auth_plugin|plugin_load)$/.test(name)

/** Settings with which Mosquitto knows who its users are, so that it accepts no other name from them. */
export const verifiesUsers = (name: string, value: string): boolean =>
  /^(password_file|psk_file)$/.test(name) ||
  (loadsPlugin(name) && !/acl_file|persist_sqlite/.test(knownPlugin(value) ?? '')) ||
  (/^use_(identity|subject)_as_username$/.test(name) && /^(true|1)$/.test(value))
