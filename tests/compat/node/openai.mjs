// OpenAI's client for JavaScript, as its users use it. Each scene returns what the client said.
import OpenAI from 'openai'
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod'
import { z } from 'zod'

import { countRequests, refused } from './refusals.mjs'

const client = new OpenAI({ maxRetries: 0, timeout: 30_000 })
const HELLO = [{ role: 'user', content: 'Say hello in three words' }]
const STORY = [{ role: 'user', content: 'Tell me a story' }]
const WEATHER = [{ role: 'user', content: 'What is the weather in Oslo?' }]
const LOCATION = {
  type: 'object',
  properties: { location: { type: 'string' } },
  required: ['location'],
  additionalProperties: false,
}
const Solution = z.object({
  steps: z.array(z.object({ explanation: z.string(), output: z.string() })),
  certainty: z.enum(['low', 'high']),
  remark: z.string().nullable(),
})

export async function plain() {
  const { data, response, request_id } = await client.chat.completions
    .create({
      model: 'hacxgpt',
      messages: [
        { role: 'system', content: 'You are a helpful assistant.' },
        { role: 'user', content: 'What is the capital of France?' },
      ],
    })
    .withResponse()
  const limit = response.headers.get('x-ratelimit-limit-requests')
  return { completion: data, limit, requestId: request_id }
}

export async function streamed() {
  const asked = { model: 'hacxgpt', messages: STORY }
  const whole = await client.chat.completions.create(asked)
  const stream = await client.chat.completions.create({
    ...asked,
    stream: true,
    stream_options: { include_usage: true },
  })
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)
  const pieces = chunks.map((chunk) => chunk.choices[0]?.delta.content).filter(Boolean)
  return { whole, pieces, id: chunks[0].id, usage: chunks.at(-1).usage }
}

export async function streamHelper() {
  const pieces = []
  const stream = client.chat.completions
    .stream({ model: 'hacxgpt', messages: STORY, stream_options: { include_usage: true } })
    .on('content', (delta) => pieces.push(delta))
  const completion = await stream.finalChatCompletion()
  return { pieces, completion, usage: await stream.totalUsage() }
}

export async function toolsRun() {
  const asked = []
  const weather = {
    type: 'function',
    function: {
      name: 'get_weather',
      description: 'Get current weather',
      parameters: LOCATION,
      parse: JSON.parse,
      function: ({ location }) => {
        asked.push(location)
        return 'snow'
      },
    },
  }
  const finals = []
  for (const stream of [false, true]) {
    const runner = client.chat.completions.runTools({
      model: 'hacxgpt',
      messages: WEATHER,
      tools: [weather],
      stream,
    })
    finals.push(await runner.finalContent())
  }
  return { asked, finals }
}

export async function parsed() {
  const response_format = zodResponseFormat(Solution, 'solution')
  const asked = { model: 'hacxgpt', messages: HELLO, response_format }
  const whole = await client.chat.completions.parse(asked)
  const stream = await client.chat.completions.stream(asked).finalChatCompletion()
  const cut = await refused(() => client.chat.completions.parse({ ...asked, max_tokens: 3 }))
  return {
    whole: whole.choices[0].message.parsed,
    streamed: stream.choices[0].message.parsed,
    cut: cut.message,
  }
}

export async function embeddings() {
  const asked = { model: 'text-embedding-3-small', input: ['Hello', 'Hello again'], dimensions: 8 }
  const packed = await client.embeddings.create(asked)
  const plain = await client.embeddings.create({ ...asked, encoding_format: 'float' })
  const singles = plain.data.map(({ embedding }) => embedding.map(Math.fround))
  return { packed: packed.data.map(({ embedding }) => embedding), singles, usage: packed.usage }
}

export async function responses() {
  const asked = { model: 'hacxgpt', instructions: 'Be kind.', input: 'Say hello' }
  const whole = await client.responses.create(asked)
  const numbers = []
  const stream = client.responses.stream(asked)
  for await (const event of stream) numbers.push(event.sequence_number)
  const final = await stream.finalResponse()
  const form = await client.responses.parse({
    ...asked,
    text: { format: zodTextFormat(Solution, 'solution') },
  })
  return { whole, numbers, final, parsed: form.output_parsed }
}

export async function responsesTool() {
  const input = [...WEATHER]
  const tool = { type: 'function', name: 'get_weather', parameters: LOCATION, strict: true }
  const first = await client.responses.create({ model: 'hacxgpt', input, tools: [tool] })
  const [call] = first.output
  input.push(...first.output)
  input.push({ type: 'function_call_output', call_id: call.call_id, output: 'snow' })
  const second = await client.responses.create({ model: 'hacxgpt', input, tools: [tool] })
  return { name: call.name, arguments: JSON.parse(call.arguments), text: second.output_text }
}

export async function models() {
  const names = []
  for await (const model of client.models.list()) names.push(model.id)
  const missed = await refused(() => client.models.retrieve('no/such'))
  return { names, found: await client.models.retrieve('hacxgpt'), missed }
}

const ask = (fields, using = client) =>
  refused(() =>
    using.chat.completions.create({ model: 'hacxgpt', messages: HELLO, stream: true, ...fields }),
  )

export async function refusals() {
  return {
    wrongKey: await ask({}, new OpenAI({ apiKey: 'hk-proj-wrong', maxRetries: 0 })),
    unknownModel: await ask({ model: 'nope' }),
    badField: await ask({ temperature: 3 }),
    noMessages: await ask({ messages: [] }),
  }
}

export const oneRefusal = () => ask({})

export const retriedRefusal = () =>
  countRequests((fetch) => ask({}, new OpenAI({ maxRetries: 2, fetch })))

export async function broken() {
  let pieces = 0
  const error = await refused(async () => {
    const asked = { model: 'hacxgpt-faulty', messages: STORY, stream: true }
    for await (const chunk of await client.chat.completions.create(asked)) {
      if (chunk.choices[0].delta.content) pieces += 1
    }
  })
  return { ...error, pieces }
}

export async function aborted() {
  const controller = new AbortController()
  let pieces = 0
  const asked = { model: 'hacxgpt', messages: STORY, stream: true }
  const stream = await client.chat.completions.create(asked, { signal: controller.signal })
  for await (const chunk of stream) {
    if (chunk.choices[0].delta.content) pieces += 1
    if (pieces === 3) controller.abort()
  }
  return { pieces, isAborted: controller.signal.aborted }
}
