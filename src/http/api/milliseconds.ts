/** A duration as the API has it: to the microsecond. */
export const milliseconds = (ms: number | undefined): number | undefined =>
  ms === undefined ? undefined : Math.round(ms * 1000) / 1000
