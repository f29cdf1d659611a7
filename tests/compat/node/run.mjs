// Play one scene of one client and print what it returns, as JSON: node run.mjs CLIENT SCENE
const [client, scene] = process.argv.slice(2)
const scenes = await import(`./${client}.mjs`)
process.stdout.write(JSON.stringify(await scenes[scene]()))
