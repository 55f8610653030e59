// Makes a component of a core module: node component.mjs WIT WORLD CORE OUT
// As `wasm-tools component embed` and `wasm-tools component new --adapt` do; jco brings both and the adapter from npm.
import { readFile, writeFile } from 'node:fs/promises';
import { componentEmbed, componentNew, preview1AdapterReactorPath } from '@bytecodealliance/jco';

const [wit, world, core, out] = process.argv.slice(2);
if (!out) {
  console.error('usage: node component.mjs WIT WORLD CORE OUT');
  process.exit(2);
}
let module = await readFile(core);
// Rust's bindings embed the world themselves; `-` says so.
if (wit !== '-') {
  module = await componentEmbed({ binary: module, witSource: await readFile(wit, 'utf8'), world });
}
const adapter = await readFile(preview1AdapterReactorPath());
const usesPreview1 = WebAssembly.Module.imports(new WebAssembly.Module(module))
  .some(({ module: from }) => from === 'wasi_snapshot_preview1');
await writeFile(out, await componentNew(module, usesPreview1 ? [['wasi_snapshot_preview1', adapter]] : []));
