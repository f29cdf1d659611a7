// The shapes that the client's own README shows, with its model's name. Only the address and the
// key are ours, and both come from the environment, as there.
import OpenAI from 'openai'

export async function response() {
  const client = new OpenAI({
    apiKey: process.env['OPENAI_API_KEY'],
  })

  const response = await client.responses.create({
    model: 'gpt-5.5',
    instructions: 'You are a baker who answers in one sentence',
    input: 'What is 2+2?',
  })

  return response.output_text
}

export async function completion() {
  const client = new OpenAI()

  const completion = await client.chat.completions.create({
    model: 'gpt-5.5',
    messages: [
      { role: 'developer', content: 'Answer like a baker.' },
      { role: 'user', content: 'What is 2+2?' },
    ],
  })

  return completion.choices[0].message.content
}

export async function vision() {
  const client = new OpenAI()

  const response = await client.responses.create({
    model: 'gpt-5.5',
    input: [
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'What is on this picture?' },
          { type: 'input_image', detail: 'auto', image_url: 'https://example.com/loaf.jpg' },
        ],
      },
    ],
  })

  return response.output_text
}

export async function streaming() {
  const client = new OpenAI()

  const stream = await client.responses.create({
    model: 'gpt-5.5',
    input: 'Say hello',
    stream: true,
  })

  const types = []
  for await (const event of stream) {
    types.push(event.type)
  }
  return types
}

export async function handlingErrors() {
  const client = new OpenAI()

  return await client.chat.completions
    .create({ model: 'no-such-model', messages: [{ role: 'user', content: 'Hello!' }] })
    .catch(async (err) => {
      if (err instanceof OpenAI.APIError) {
        return {
          requestID: err.requestID,
          status: err.status,
          isNotFound: err instanceof OpenAI.NotFoundError,
          type: err.headers.get('content-type'),
        }
      } else {
        throw err
      }
    })
}
