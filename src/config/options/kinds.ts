import { z } from 'zod'

/** What checks a value: a schema of zod, whose types stay out of the public ones. */
export interface Schema<T, Given> {
  /** @throws Error if the value is not valid */
  parse(value: unknown): T
  safeParse(value: unknown): { readonly success: true; readonly data: T } | { readonly success: false }
  /** There for its type alone. */
  readonly _zod: { readonly input: Given }
}

/** A kind of values that options accept: `Given` as written, `T` as resolved. */
export interface Kind<T, Given = T> {
  readonly schema: Schema<T, Given>
  /** Completes "expected ..." in an error message. */
  readonly expected: string
  /** Placeholder of the value in the help. Undefined for a switch, which has no value. */
  readonly placeholder?: string
  /**
   * The value is a path: relative to the working directory in a flag, and to the directory of the configuration file in
   * that file. A URL is left unchanged.
   */
  readonly path?: true
  /** The value is a text of items separated by commas. */
  readonly list?: true
}

/** Headings in the help, in the documentation and in the console, in order, and what is under them. */
export const OPTION_GROUPS = {
  Listeners: 'Where MQTT clients connect: TCP, WebSocket and Unix sockets.',
  TLS: 'Certificates of listeners and of their clients.',
  Access: 'Who may connect, publish and subscribe.',
  Tokens: 'JSON Web Tokens instead of passwords.',
  Logins: 'Bans, and how many logins are checked at once.',
  HTTP: 'Console, metrics, health and API.',
  State: 'What is kept on disk, and when it is.',
  Log: 'Log and trace.',
  Memory: 'How much of it clients may make the process use.',
  'MQTT broker': 'Sizes, limits and features of MQTT.',
  Queues: 'What waits for a client, and what is in flight.',
  Sessions: 'How many there may be, for how long, and what each may subscribe to.',
  'MQTT-SN gateway': 'Sensors: sleep, topics, users, presence.',
  'MQTT-SN ports': 'Where sensors connect: UDP and serial lines, airtime, retransmission.',
  'Configuration file': 'Which it is, and a check of it.',
} as const

export type OptionGroup = keyof typeof OPTION_GROUPS

export interface OptionDefinition extends Kind<unknown, unknown> {
  readonly group: OptionGroup
  /** As written in the configuration file. */
  readonly default: string | number | boolean | undefined
  /** One or two sentences, with the unit. */
  readonly about: string
  /** A flag without a key in the configuration file, or with a key that is not this one value. */
  readonly flagOnly?: true
  /** The flag may be there several times; its value is a list. */
  readonly repeated?: true
  /**
   * Also a key of an entry of `listeners`. 'own': the global value applies to the default listener only. 'inherits':
   * the global value applies to every listener that does not set its own.
   */
  readonly listener?: 'own' | 'inherits'
  /** As `listener`, for an entry of `sn_listeners`, in which `sn_` is left out of the key. */
  readonly snListener?: 'own' | 'inherits'
}

export const KIB = 1024
export const MIB = 1024 * KIB

export const whole = (min: number, max: number): Kind<number> => ({
  schema: z.int().min(min).max(max),
  expected: `a whole number from ${min} to ${max}`,
  placeholder: 'number',
})

export const optionalWhole = (min: number, max: number): Kind<number | undefined> => ({
  ...whole(min, max),
  schema: z.int().min(min).max(max).optional(),
})

export const real = (min: number, max: number): Kind<number> => ({
  schema: z.number().min(min).max(max),
  expected: `a number from ${min} to ${max}`,
  placeholder: 'number',
})

/**
 * A limit that can be switched off in Mosquitto: `unlimited` means `max` here, because nothing may grow without bound.
 */
export const wholeOrMost = (min: number, max: number, unlimited: 0 | -1): Kind<number> => ({
  schema: z
    .int()
    .max(max)
    .refine((value) => value === unlimited || value >= min)
    .transform((value) => (value === unlimited ? max : value)),
  expected: `a whole number from ${min} to ${max}, or ${unlimited} for the largest`,
  placeholder: 'number',
})

/** A check that 0 switches off. It resolves to Infinity then, so that comparisons need no special case. */
export const wholeOrOff = (min: number, max: number, off: string): Kind<number> => ({
  schema: z
    .int()
    .max(max)
    .refine((value) => value === 0 || value >= min)
    .transform((value) => (value === 0 ? Number.POSITIVE_INFINITY : value)),
  expected: `a whole number from ${min} to ${max}, or 0 for ${off}`,
  placeholder: 'number',
})

/** A limit whose default, written as 0, depends on the machine. */
export const wholeOrDerived = (min: number, max: number): Kind<number> => ({
  schema: z
    .int()
    .max(max)
    .refine((value) => value === 0 || value >= min),
  expected: `a whole number from ${min} to ${max}, or 0 for the default`,
  placeholder: 'number',
})

/** Seconds; 0 means never. */
export const secondsOrNever = (max: number): Kind<number> => wholeOrOff(1, max, 'never')

export const choice = <const T extends string>(...names: T[]): Kind<T> => ({
  schema: z.enum(names) as unknown as z.ZodType<T, T>,
  expected: `one of ${names.join(', ')}`,
  placeholder: names.join('|'),
})

/** A flag without a value, off by default. */
export const onOff: Kind<boolean> = { schema: z.boolean(), expected: 'true or false' }

/** A flag without a value. Its default depends on the rest of the configuration. */
export const optionalOnOff: Kind<boolean | undefined> = { ...onOff, schema: z.boolean().optional() }

/** A flag with a value, so that what is on by default can be switched off. */
export const trueFalse: Kind<boolean> = { ...onOff, placeholder: 'true|false' }

/** As `trueFalse`, but its default depends on the rest of the configuration. */
export const optionalTrueFalse: Kind<boolean | undefined> = { ...trueFalse, schema: z.boolean().optional() }

export const address: Kind<string> = {
  schema: z.string().regex(/^[^\s/]+$/),
  expected: 'a host name or an IP address',
  placeholder: 'address',
}

export const directory: Kind<string> = {
  schema: z.string().min(1),
  expected: 'the path of a directory',
  placeholder: 'dir',
  path: true,
}

export const optionalFile: Kind<string | undefined> = {
  schema: z.string().min(1).optional(),
  expected: 'the path of a file',
  placeholder: 'file',
  path: true,
}

/** A file that is written. */
export const outputFile: Kind<string | undefined> = { ...optionalFile, placeholder: 'path' }

export const text = (pattern: RegExp, expected: string, placeholder: string): Kind<string> => ({
  schema: z.string().regex(pattern),
  expected,
  placeholder,
})

export const optionalText = (pattern: RegExp, expected: string, placeholder: string): Kind<string | undefined> => ({
  ...text(pattern, expected, placeholder),
  schema: z.string().regex(pattern).optional(),
})

/** Items separated by commas. `parse` returns `undefined` for an invalid item. */
export const listOf = <T>(
  expected: string,
  placeholder: string,
  parse: (text: string) => T | undefined,
): Kind<readonly T[], string> & { readonly list: true } => ({
  schema: z
    .string()
    .transform((text) => text.split(/[\s,]+/).filter((part) => part !== ''))
    .transform((parts) => parts.map(parse))
    .refine((parsed) => !parsed.includes(undefined))
    .transform((parsed) => parsed.filter((each) => each !== undefined)) as unknown as z.ZodType<readonly T[], string>,
  list: true,
  expected: `${expected}, separated by commas`,
  placeholder,
})

const addresses = z
  .union([z.string().transform((written) => written.split(/[\s,]+/).filter((each) => each !== '')), z.array(z.string().min(1))])
  .refine((all) => all.length > 0 && all.length <= 100)

/** A list, or a text with spaces or commas between the items: URLs, or hosts with or without a port. */
export const addressList: Kind<readonly string[], string | readonly string[]> = {
  schema: addresses,
  expected: 'addresses like broker.example.org:8883 or mqtts://broker.example.org',
}

export const optionalAddressList: Kind<readonly string[] | undefined, string | readonly string[] | undefined> = {
  ...addressList,
  schema: addresses.optional(),
}

/** Client ids in which `*` matches any number of characters. */
export const clientPatterns: Kind<readonly string[], string> & { readonly list: true } = listOf(
  'client ids such as sensor-*',
  'ids',
  (text) => text,
)

/** `1025-9000`. */
export const topicIdRange: Kind<{ readonly from: number; readonly to: number }, string> = {
  schema: z
    .string()
    .regex(/^\d{1,5}-\d{1,5}$/)
    .transform((written) => {
      const [from = 0, to = 0] = written.split('-').map(Number)
      return { from, to }
    })
    .refine(({ from, to }) => from >= 1 && from <= to && to <= 0xfffe),
  expected: 'a range of topic ids within 1-65534 like 1025-9000',
  placeholder: 'from-to',
}

/** File permissions: octal digits in quotes, because YAML reads 0660 as six hundred and sixty. Resolves to a number. */
export const permissions: Kind<number, string> = {
  schema: z
    .string()
    .regex(/^0?[0-7]{3}$/)
    .transform((digits) => Number.parseInt(digits, 8)),
  expected: 'permissions in quotes like "0660"',
  placeholder: 'mode',
}

const url = z.url({ protocol: /^https?$/ })

export const httpUrl: Kind<string | undefined> = {
  schema: url.optional(),
  expected: 'an http or https URL',
  placeholder: 'url',
}

/** Returns whether a value is a URL rather than a path. */
export const isUrl = (text: string): boolean => /^https?:/i.test(text)

export const optionalFileOrUrl: Kind<string | undefined> = {
  schema: z
    .string()
    .min(1)
    .refine((text) => !isUrl(text) || url.safeParse(text).success)
    .optional(),
  expected: 'the path of a file, or an http or https URL',
  placeholder: 'file|url',
  path: true,
}

/** Whether a client needs a certificate. Mosquitto's values true and false are accepted too. */
export const certificates: Kind<'no' | 'optional' | 'required', 'no' | 'optional' | 'required' | boolean> = {
  schema: z
    .preprocess(
      (raw) => (String(raw) === 'true' ? 'required' : String(raw) === 'false' ? 'no' : raw),
      z.enum(['no', 'optional', 'required']),
    )
    .pipe(z.enum(['no', 'optional', 'required'])) as unknown as Kind<
    'no' | 'optional' | 'required',
    'no' | 'optional' | 'required' | boolean
  >['schema'],
  expected: 'one of no, optional, required, true, false',
  placeholder: 'no|optional|required',
}
