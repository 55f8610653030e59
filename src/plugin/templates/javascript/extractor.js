// {{contract}}

export const meta = {
  describe: () => ({
    name: '{{name}}',
    version: '0.1.0',
    kind: '{{kind}}',
    description: '{{description}}',
  }),
};

export const extractor = {
  extract(body, headers, config) {
    const { left, right } = JSON.parse(config);
    // An exception ends the call as a trap, which tells a config without these apart from "nothing found".
    if (!left || !right) throw new Error('the config needs left and right');
    const text = new TextDecoder().decode(body);
    const before = text.indexOf(left);
    if (before < 0) return undefined;
    const start = before + left.length;
    const end = text.indexOf(right, start);
    return end < 0 ? undefined : text.slice(start, end);
  },
};
