// Package export_loadr_plugin_extractor is the plugin. {{contract}}
package export_loadr_plugin_extractor

import (
	"encoding/json"
	"strings"

	wit "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/heap"
)

type config struct {
	Left  string `json:"left"`
	Right string `json:"right"`
}

func Extract(body []uint8, _ []wit.Tuple2[string, string], text string) wit.Option[string] {
	heap.Taken(len(body) + len(text))
	var c config
	// A config that cannot be read is the plan's mistake. A trap tells it; "nothing found" would hide it.
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		panic(err)
	}
	_, rest, found := strings.Cut(string(body), c.Left)
	value, _, ended := strings.Cut(rest, c.Right)
	if !found || !ended {
		return wit.None[string]()
	}
	return wit.Some(value)
}
