// The few WASI calls that Go's own compiler links. TinyGo's module imports nothing.

/** Imports for an instance whose memory is read when it is needed. */
export function wasi(memory: () => WebAssembly.Memory): WebAssembly.Imports {
  const view = () => new DataView(memory().buffer);
  const calls: Record<string, (...args: number[]) => number> = {
    clock_time_get: (_id, _precision, result = 0) => {
      // Go's scheduler takes a clock of 0 for one that was never set.
      view().setBigUint64(result, BigInt(Math.max(1, Date.now())) * 1_000_000n, true);
      return 0;
    },
    random_get: (start = 0, length = 0) => {
      crypto.getRandomValues(new Uint8Array(memory().buffer, start, length));
      return 0;
    },
    args_sizes_get: (count = 0, size = 0) => none(view(), count, size),
    environ_sizes_get: (count = 0, size = 0) => none(view(), count, size),
    fd_write: (_fd, vectors = 0, count = 0, result = 0) => {
      const { text, length } = gather(view(), memory(), vectors, count);
      console.error(JSON.stringify({ perch: "core", text }));
      view().setUint32(result, length, true);
      return 0;
    },
    proc_exit: (code = 0) => {
      throw new Error(`the core exited with ${code}`);
    },
  };
  const fallback = () => 0;
  return {
    wasi_snapshot_preview1: new Proxy(calls, { get: (target, name) => target[String(name)] ?? fallback }),
  } as unknown as WebAssembly.Imports;
}

function none(view: DataView, count: number, size: number): number {
  view.setUint32(count, 0, true);
  view.setUint32(size, 0, true);
  return 0;
}

function gather(view: DataView, memory: WebAssembly.Memory, vectors: number, count: number) {
  let text = "";
  let length = 0;
  for (let i = 0; i < count; i++) {
    const start = view.getUint32(vectors + 8 * i, true);
    const size = view.getUint32(vectors + 8 * i + 4, true);
    text += new TextDecoder().decode(new Uint8Array(memory.buffer, start, size));
    length += size;
  }
  return { text, length };
}
