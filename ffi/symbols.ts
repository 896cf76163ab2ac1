/**
 * Symbols of a loaded library, each bound when it is first asked for. To bind one takes 0.1 ms,
 * and of the 140 that there are a start wants few.
 */

export type SymbolsOf<T extends Deno.ForeignLibraryInterface> = Deno.DynamicLibrary<T>["symbols"];

/** The library stays loaded. A symbol that it lacks throws when it is asked for. */
export function symbolsOf<T extends Deno.ForeignLibraryInterface>(
  path: string,
  table: T,
): SymbolsOf<T> {
  const symbols = {};
  for (const [name, symbol] of Object.entries(table)) {
    Object.defineProperty(symbols, name, {
      enumerable: true,
      configurable: true,
      get(): unknown {
        const { symbols: { [name]: value } } = Deno.dlopen(path, { [name]: symbol });
        // From now on a plain property, which V8 calls directly.
        Object.defineProperty(symbols, name, { value, enumerable: true });
        return value;
      },
    });
  }
  return symbols as SymbolsOf<T>;
}

/** Binds all that are left: for tests, where a library that is opened later seems to leak. */
export function bindAll(symbols: object): void {
  Object.values(symbols);
}
