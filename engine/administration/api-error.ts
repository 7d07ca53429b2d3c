/** A request to the admin API that cannot be served; the message is the answer, without personal data. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
