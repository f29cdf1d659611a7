// What a client makes of a refusal: the classes of its error that `instanceof` finds, narrowest
// first, and what it says.
export async function refused(call) {
  try {
    await call()
  } catch (error) {
    const { status, code, param, type, message, requestID } = error
    const retryAfter = error.headers?.get('retry-after') ?? null
    const said = error.error
    return { kinds: kindsOf(error), status, code, param, type, message, requestID, retryAfter, said }
  }
  throw new Error('the call was not refused')
}

function kindsOf(error) {
  const kinds = []
  for (let kind = error.constructor; kind !== Error; kind = Object.getPrototypeOf(kind)) {
    kinds.push(kind.name)
  }
  return kinds
}

// Ask with a client that may try again, and count how often it did.
export async function countRequests(ask) {
  let requests = 0
  const counting = (url, init) => {
    requests += 1
    return fetch(url, init)
  }
  return { ...(await ask(counting)), requests }
}
