// Vercel's AI SDK with its providers, as its users use it. Each scene returns what it said.
import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateObject, generateText, isStepCount, Output, streamText, tool } from 'ai'
import { z } from 'zod'

const openai = createOpenAI()
const compatible = createOpenAICompatible({
  name: 'tollgate',
  baseURL: process.env['OPENAI_BASE_URL'],
  apiKey: process.env['OPENAI_API_KEY'],
  includeUsage: true,
  supportsStructuredOutputs: true,
})
// This provider's base address ends with the version, where Anthropic's own client has none.
const anthropic = createAnthropic({ baseURL: `${process.env['ANTHROPIC_BASE_URL']}/v1` })
globalThis.AI_SDK_LOG_WARNINGS = false // generateObject is deprecated, and in many programs

const PROVIDERS = {
  compatible: (model) => compatible(model),
  chat: (model) => openai.chat(model),
  responses: (model) => openai.responses(model),
  messages: (model) => anthropic(model),
}
const model = PROVIDERS[process.env['PROVIDER']]

const told = ({ text, finishReason, usage }) => ({
  text,
  finishReason,
  input: usage.inputTokens,
  output: usage.outputTokens,
})

export async function plain() {
  const answer = await generateText({
    model: model('hacxgpt'),
    instructions: 'You are a helpful assistant.',
    prompt: 'What is the capital of France?',
  })
  return told(answer)
}

export async function streamed() {
  const pieces = []
  const answer = streamText({ model: model('hacxgpt'), prompt: 'Tell me a story' })
  for await (const piece of answer.textStream) pieces.push(piece)
  const whole = await generateText({ model: model('hacxgpt'), prompt: 'Tell me a story' })
  const [text, finishReason, usage] = [answer.text, answer.finishReason, answer.usage]
  const streamed = told({ text: await text, finishReason: await finishReason, usage: await usage })
  return { pieces, streamed, whole: told(whole) }
}

const weatherTool = (asked) =>
  tool({
    description: 'Get current weather',
    inputSchema: z.object({ location: z.string() }),
    execute: async ({ location }) => {
      asked.push(location)
      return 'snow'
    },
  })

export async function tools() {
  const asked = []
  const settings = {
    model: model('hacxgpt'),
    tools: { get_weather: weatherTool(asked) },
    stopWhen: isStepCount(3),
    prompt: 'What is the weather in Oslo?',
  }
  const whole = await generateText(settings)
  const stream = streamText(settings)
  return { asked, steps: whole.steps.length, texts: [whole.text, await stream.text] }
}

export async function object() {
  const schema = z.object({ city: z.string(), people: z.number().int().min(1), coast: z.boolean() })
  const prompt = 'Describe a city.'
  const { object } = await generateObject({ model: model('hacxgpt'), schema, prompt })
  const { output } = await generateText({
    model: model('hacxgpt'),
    output: Output.object({ schema }),
    prompt,
  })
  return { object, output }
}

export async function refusal() {
  try {
    await generateText({ model: model('nope'), prompt: 'Hello', maxRetries: 0 })
  } catch (error) {
    const { name, statusCode, isRetryable, message } = error
    return { name, statusCode, isRetryable, message }
  }
  throw new Error('the call was not refused')
}

export async function aborted() {
  const controller = new AbortController()
  let pieces = 0
  const answer = streamText({
    model: model('hacxgpt'),
    prompt: 'Tell me a story',
    abortSignal: controller.signal,
  })
  for await (const _ of answer.textStream) {
    pieces += 1
    if (pieces === 3) controller.abort()
  }
  return { pieces }
}
