// Runs examples in one process, each as a module of its own in the working directory, from where
// it finds its packages.
//
// Reads from its input the client's package and an object of code by name, and writes what each
// said, and where it broke. `client`, `openai` and the package's class are there for examples that
// go on from one above them.
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { format } from 'node:util'

const [name, examples] = JSON.parse(await text(process.stdin))
const here = pathToFileURL(`${process.cwd()}/`)
const { default: Client } = createRequire(here)(name)
globalThis[Client.name] = Client
globalThis.client = globalThis.openai = new Client()

async function run(source, number) {
  const file = new URL(`example_${number}.mjs`, here)
  writeFileSync(file, source)
  const lines = []
  console.log = (...said) => lines.push(format(...said))
  let broke = ''
  try {
    await import(file)
  } catch (error) {
    broke = format(error)
  }
  return { said: lines.join('\n'), broke }
}

const ran = {}
for (const [number, [name, source]] of Object.entries(examples).entries()) {
  ran[name] = await run(source, number)
}
process.stdout.write(JSON.stringify(ran))
