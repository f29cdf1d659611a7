// The classes of a client's error that `instanceof` finds, narrowest first.
export function kindsOf(error) {
  const kinds = []
  for (let kind = error.constructor; kind !== Error; kind = Object.getPrototypeOf(kind)) {
    kinds.push(kind.name)
  }
  return kinds
}
