/** Short notes at the foot of the page, some with a way back. */

export interface Toast {
  id: number;
  text: string;
  label?: string;
  act?: () => void;
  bad?: boolean;
}

const SHOWN_MS = 8000;

class Toasts {
  all = $state.raw<Toast[]>([]);
  #next = 1;

  show(text: string, more: Omit<Toast, "id" | "text"> & { ms?: number } = {}): number {
    const id = this.#next++;
    this.all = [...this.all.slice(-2), { id, text, ...more }];
    setTimeout(() => this.close(id), more.ms ?? SHOWN_MS);
    return id;
  }

  /** Say why something was refused. */
  refuse(error: unknown): void {
    this.show(error instanceof Error ? error.message : String(error), { bad: true });
  }

  close(id: number): void {
    this.all = this.all.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
