/** Throws unless all is well; gives the figures. */
export function grown(minutes: number, seed: number, isOnDisk: boolean): Promise<string>
