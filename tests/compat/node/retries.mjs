// How often the clients ask again, and how long they would wait, when they are answered as a test
// says: each scene plays the answers of the environment's CASES, a status with its headers each;
// a status of 0 is a connection that breaks. Nothing is sent and nobody waits.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import Anthropic from '@anthropic-ai/sdk'
import { generateText } from 'ai'
import OpenAI from 'openai'

const TIMEOUT_MS = 123_457 // a client's own timer, which is none of a pause
const CASES = JSON.parse(process.env['CASES'])
const HELLO = [{ role: 'user', content: 'Hello' }]

const keptTimer = globalThis.setTimeout
let waits = []
globalThis.setTimeout = (wake, ms, ...rest) => {
  if (ms === TIMEOUT_MS || ms === undefined || ms < 10) return keptTimer(wake, ms, ...rest)
  waits.push(ms)
  return keptTimer(wake, 0, ...rest)
}

async function count({ status, headers }, ask) {
  let requests = 0
  waits = []
  const answer = async () => {
    requests += 1
    if (status === 0) throw new TypeError('fetch failed', { cause: { code: 'ECONNRESET' } })
    const body = JSON.stringify({ error: { message: 'no', type: 'server_error' } })
    return new Response(body, {
      status,
      headers: { 'content-type': 'application/json', ...headers },
    })
  }
  try {
    await ask(answer)
  } catch {
    return { requests, waits }
  }
  throw new Error('the call was not refused')
}

async function play(ask) {
  const played = []
  for (const each of CASES) played.push(await count(each, ask))
  return played
}

export const openai = () =>
  play((fetch) =>
    new OpenAI({ fetch, timeout: TIMEOUT_MS }).chat.completions.create({
      model: 'hacxgpt',
      messages: HELLO,
    }),
  )

export const anthropic = () =>
  play((fetch) =>
    new Anthropic({ fetch, timeout: TIMEOUT_MS }).messages.create({
      model: 'hacxgpt',
      max_tokens: 64,
      messages: HELLO,
    }),
  )

export const vercel = () =>
  play((fetch) => {
    const provider = createOpenAICompatible({ name: 'tollgate', baseURL: 'http://scripted', fetch })
    return generateText({ model: provider('hacxgpt'), prompt: 'Hello' })
  })
