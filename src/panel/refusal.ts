/** Why a request is refused, as it is told; `field` names what is wrong in it. */
export class Refusal extends Error {
  readonly status: number;
  readonly field: string | undefined;
  readonly retryAfterS: number | undefined;

  constructor(status: number, message: string, more: { readonly field?: string; readonly retryAfterS?: number } = {}) {
    super(message);
    this.status = status;
    this.field = more.field;
    this.retryAfterS = more.retryAfterS;
  }
}
