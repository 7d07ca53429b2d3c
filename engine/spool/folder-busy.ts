// In a file of its own: who only asks for the class does not load an HTTP server.

/** The data directory cannot be had now: it is taken, or the disk does not let us. */
export class FolderBusyError extends Error {}
