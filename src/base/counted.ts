/** `1 message`, `2 messages` */
export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`
