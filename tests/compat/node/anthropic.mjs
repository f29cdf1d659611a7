// Anthropic's client for JavaScript, as its users use it. Each scene returns what the client said.
import Anthropic from '@anthropic-ai/sdk'
import { betaTool } from '@anthropic-ai/sdk/helpers/beta/json-schema'
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod'
import { z } from 'zod'

import { countRequests, refused } from './refusals.mjs'

const client = new Anthropic({ maxRetries: 0, timeout: 30_000 })
const ASKED = { model: 'hacxgpt', max_tokens: 1024 }
const STORY = [{ role: 'user', content: 'Tell me a story' }]
const WEATHER = [{ role: 'user', content: 'What is the weather in Oslo?' }]
const LOCATION = {
  type: 'object',
  properties: { location: { type: 'string' } },
  required: ['location'],
}

export async function plain() {
  const { data, response } = await client.messages
    .create({
      ...ASKED,
      system: 'You are a helpful assistant.',
      messages: [{ role: 'user', content: 'What is the capital of France?' }],
    })
    .withResponse()
  return { message: data, requestId: response.headers.get('request-id') }
}

export async function streamed() {
  const messages = [{ role: 'user', content: 'Say hello' }]
  const events = await client.messages.create({ ...ASKED, messages, stream: true })
  const types = []
  for await (const event of events) types.push(event.type)
  return types
}

export async function streamHelper() {
  const pieces = []
  const stream = client.messages
    .stream({ ...ASKED, messages: STORY })
    .on('text', (delta) => pieces.push(delta))
  const message = await stream.finalMessage()
  const whole = await client.messages.create({ ...ASKED, messages: STORY })
  return { pieces, message, whole }
}

export async function tool() {
  const asked = { ...ASKED, tools: [{ name: 'get_weather', input_schema: LOCATION }] }
  const called = await client.messages.stream({ ...asked, messages: WEATHER }).finalMessage()
  const [{ id }] = called.content
  const answered = await client.messages.create({
    ...asked,
    messages: [
      ...WEATHER,
      { role: 'assistant', content: called.content },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: 'snow' }] },
    ],
  })
  return { called, answered }
}

export async function toolRunner() {
  const asked = []
  const weather = betaTool({
    name: 'get_weather',
    description: 'Get current weather',
    inputSchema: LOCATION,
    run: ({ location }) => {
      asked.push(location)
      return 'snow'
    },
  })
  const message = await client.beta.messages.toolRunner({
    ...ASKED,
    messages: WEATHER,
    tools: [weather],
  })
  return { asked, text: message.content[0].text }
}

export async function parsed() {
  const City = z.object({ city: z.string(), people: z.number().int(), coast: z.enum(['yes', 'no']) })
  const asked = {
    ...ASKED,
    messages: [{ role: 'user', content: 'Describe a city.' }],
    output_config: { format: zodOutputFormat(City) },
  }
  const whole = await client.messages.parse(asked)
  const streamed = await client.messages.stream(asked).finalMessage()
  return { whole: whole.parsed_output, streamed: streamed.parsed_output }
}

export async function thinking() {
  const asked = {
    ...ASKED,
    max_tokens: 2048,
    thinking: { type: 'enabled', budget_tokens: 1024 },
  }
  const question = { role: 'user', content: 'What is 2+2?' }
  const message = await client.messages.stream({ ...asked, messages: [question] }).finalMessage()
  const again = await client.messages.create({
    ...asked,
    messages: [
      question,
      { role: 'assistant', content: message.content },
      { role: 'user', content: 'And 5+3?' },
    ],
  })
  return { message, again: again.content.at(-1).text }
}

export async function counted() {
  const asked = { model: 'hacxgpt', messages: STORY, system: 'Be brief.' }
  const { input_tokens } = await client.messages.countTokens(asked)
  const message = await client.messages.create({ ...asked, max_tokens: 20 })
  return { counted: input_tokens, billed: message.usage.input_tokens }
}

export async function models() {
  const names = []
  for await (const model of client.models.list({ limit: 3 })) names.push(model.id)
  const found = await client.models.retrieve('hacxgpt')
  return { names, found, missed: await refused(() => client.models.retrieve('no/such')) }
}

const ask = (fields, using = client) =>
  refused(() => using.messages.create({ ...ASKED, messages: STORY, stream: true, ...fields }))

export async function refusals() {
  return {
    wrongKey: await ask({}, new Anthropic({ apiKey: 'hk-proj-wrong', maxRetries: 0 })),
    unknownModel: await ask({ model: 'nope' }),
    noMessages: await ask({ messages: [] }),
  }
}

export const oneRefusal = () => ask({})

export const retriedRefusal = () =>
  countRequests((fetch) => ask({}, new Anthropic({ maxRetries: 2, fetch })))

export async function broken() {
  let pieces = 0
  const error = await refused(async () => {
    const asked = { ...ASKED, model: 'hacxgpt-faulty', messages: STORY, stream: true }
    for await (const event of await client.messages.create(asked)) {
      if (event.type === 'content_block_delta') pieces += 1
    }
  })
  return { ...error, pieces }
}

export async function aborted() {
  let pieces = 0
  const stream = client.messages.stream({ ...ASKED, model: 'hacxgpt', messages: STORY })
  stream.on('text', () => {
    pieces += 1
    if (pieces === 3) stream.abort()
  })
  const error = await refused(() => stream.finalMessage())
  return { ...error, pieces }
}
