// {{contract}}

export const meta = {
  describe: () => ({
    name: '{{name}}',
    version: '0.1.0',
    kind: '{{kind}}',
    description: '{{description}}',
  }),
};

export const assertion = {
  check(status, body, headers, durationMs, config) {
    const { text } = JSON.parse(config);
    // An exception ends the call as a trap, which tells a config without it apart from a response that fails.
    if (!text) throw new Error('the config needs a text');
    // The status is 64 bits wide, so it comes as a BigInt.
    if (status !== 200n) return { pass: false, detail: `status ${status}, expected 200` };
    if (!new TextDecoder().decode(body).includes(text)) {
      return { pass: false, detail: `the body does not contain "${text}"` };
    }
    return { pass: true, detail: '' };
  },
};
