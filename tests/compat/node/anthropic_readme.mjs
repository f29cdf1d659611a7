// The shape that the client's own README shows, with its model's name. Only the address and the
// key are ours, and both come from the environment, as there.
import Anthropic from '@anthropic-ai/sdk'

export async function message() {
  const client = new Anthropic({
    apiKey: process.env['ANTHROPIC_API_KEY'],
  })

  const message = await client.messages.create({
    max_tokens: 1024,
    messages: [{ role: 'user', content: 'Say hello' }],
    model: 'claude-opus-5-5',
  })

  return message.content
}
