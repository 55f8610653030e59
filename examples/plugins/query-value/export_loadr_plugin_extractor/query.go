// Package export_loadr_plugin_extractor takes a parameter out of the query of a URL in a header, decoded: what a login or a
// payment page hands back in its redirect.
//
// Configured by {"header": "location", "parameter": "code"}; the header is location unless said otherwise.
package export_loadr_plugin_extractor

import (
	"encoding/json"
	"net/url"
	"strings"

	wit "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/heap"
)

type config struct {
	Header    string `json:"header"`
	Parameter string `json:"parameter"`
}

// A plan has one config for each place that uses the plugin: each is read once.
var configs = map[string]config{}

func Extract(_ []uint8, headers []wit.Tuple2[string, string], text string) wit.Option[string] {
	size := len(text)
	for _, header := range headers {
		size += len(header.F0) + len(header.F1)
	}
	heap.Taken(size)

	c := read(text)
	for _, header := range headers {
		if header.F0 != c.Header {
			continue
		}
		link, err := url.Parse(header.F1)
		if err != nil {
			continue
		}
		if values, found := link.Query()[c.Parameter]; found {
			return wit.Some(values[0])
		}
	}
	return wit.None[string]()
}

func read(text string) config {
	if c, found := configs[text]; found {
		return c
	}
	c := config{Header: "location"}
	// A config without a parameter is the plan's mistake. A trap tells it; "nothing found" would hide it.
	if err := json.Unmarshal([]byte(text), &c); err != nil || c.Parameter == "" {
		panic(`the config needs a "parameter"`)
	}
	c.Header = strings.ToLower(c.Header)
	// The text lies in the memory of this call; the key has to outlive it.
	configs[strings.Clone(text)] = c
	return c
}
