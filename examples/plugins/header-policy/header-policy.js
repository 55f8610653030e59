// An assertion: which headers a response must and must not have, and what its cookies must say of themselves.
//
// Configured by {"require": ["content-type"], "forbid": ["server"], "cookies": {"session": ["HttpOnly", "Path=/"]}}.

export const meta = {
  describe: () => ({
    name: 'header-policy',
    version: '0.1.0',
    kind: 'assertion',
    description: "Checks a response's headers and the attributes of its cookies",
  }),
};

export const assertion = {
  check(status, body, headers, durationMs, config) {
    const detail = fault(headers, policy(config));
    return { pass: detail === undefined, detail: detail ?? '' };
  },
};

// A plan has one config for each place that uses the plugin: each is read once.
const policies = new Map();

function policy(config) {
  let policy = policies.get(config);
  if (policy === undefined) {
    const { require = [], forbid = [], cookies = {} } = JSON.parse(config);
    policy = {
      require: require.map(lower),
      forbid: forbid.map(lower),
      cookies: Object.entries(cookies).map(([name, attributes]) => [name, attributes.map(lower)]),
    };
    policies.set(config, policy);
  }
  return policy;
}

// The first thing that is wrong, if anything. The names of headers come in lower case.
function fault(headers, { require, forbid, cookies }) {
  for (const name of require) {
    if (!headers.some(([header]) => header === name)) return `no header ${name}`;
  }
  for (const name of forbid) {
    const found = headers.find(([header]) => header === name);
    if (found) return `header ${name} is there: ${found[1]}`;
  }
  for (const [name, wanted] of cookies) {
    const set = headers.find(([header, value]) => header === 'set-cookie' && value.startsWith(`${name}=`));
    if (!set) return `no cookie ${name}`;
    const [, ...attributes] = set[1].split(';').map((part) => lower(part.trim()));
    const missing = wanted.find((attribute) => !attributes.includes(attribute));
    if (missing) return `cookie ${name} is not ${missing}`;
  }
}

function lower(text) {
  return text.toLowerCase();
}
