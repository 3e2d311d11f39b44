/** Rows of many lines, with their sums: which line stands at a row, and at which row a line, in log(n) steps. */

const FIRST_SIZE = 1024;

export class Fenwick {
  size = 0;
  #capacity = FIRST_SIZE;
  #values = new Int32Array(FIRST_SIZE);
  #tree = new Int32Array(FIRST_SIZE + 1);

  /** Make room for *size* elements; new ones count *value*. */
  grow(size: number, value: number): void {
    if (size > this.#capacity) {
      while (this.#capacity < size) this.#capacity *= 2;
      const values = new Int32Array(this.#capacity);
      values.set(this.#values.subarray(0, this.size));
      values.fill(value, this.size, size);
      this.#values = values;
      this.size = size;
      this.#build();
      return;
    }
    for (let at = this.size; at < size; at++) this.#put(at, value);
    this.size = Math.max(this.size, size);
  }

  get(at: number): number {
    return this.#values[at] ?? 0;
  }

  set(at: number, value: number): void {
    if (at >= 0 && at < this.size) this.#put(at, value);
  }

  /** Give every element a new value. */
  setAll(valueOf: (at: number) => number): void {
    for (let at = 0; at < this.size; at++) this.#values[at] = valueOf(at);
    this.#build();
  }

  /** The sum of the elements before *at*. */
  before(at: number): number {
    let sum = 0;
    for (let node = Math.min(at, this.size); node > 0; node -= node & -node) sum += this.#tree[node] ?? 0;
    return sum;
  }

  get total(): number {
    return this.before(this.size);
  }

  /** The element in which the sum passes *sum*; the last one beyond the end. */
  find(sum: number): number {
    let [node, rest] = [0, sum];
    for (let step = this.#capacity; step > 0; step >>= 1) {
      const next = node + step;
      if (next <= this.size && (this.#tree[next] ?? 0) <= rest) {
        node = next;
        rest -= this.#tree[next] ?? 0;
      }
    }
    return Math.max(0, Math.min(node, this.size - 1));
  }

  #put(at: number, value: number): void {
    const change = value - (this.#values[at] ?? 0);
    if (!change) return;
    this.#values[at] = value;
    for (let node = at + 1; node <= this.#capacity; node += node & -node) this.#tree[node] = (this.#tree[node] ?? 0) + change;
  }

  #build(): void {
    const tree = new Int32Array(this.#capacity + 1);
    for (let at = 0; at < this.size; at++) tree[at + 1] = this.#values[at] ?? 0;
    for (let node = 1; node <= this.#capacity; node++) {
      const parent = node + (node & -node);
      if (parent <= this.#capacity) tree[parent] = (tree[parent] ?? 0) + (tree[node] ?? 0);
    }
    this.#tree = tree;
  }
}
