/** The port of the HTTP service where none is configured: beside 1883 and 1884. */
export const HTTP_PORT = 1885
