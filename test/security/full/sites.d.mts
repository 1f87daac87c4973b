interface Site {
  readonly flags: readonly string[]
  remove(): void
}

export function passwordFile(users: number): Promise<Site>
export function transports(): Site
