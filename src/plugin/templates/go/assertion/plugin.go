// Package export_loadr_plugin_assertion is the plugin. {{contract}}
package export_loadr_plugin_assertion

import (
	"bytes"
	"encoding/json"
	"fmt"

	wit "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/heap"
	"wit_component/loadr_plugin_assertion"
)

type config struct {
	Text string `json:"text"`
}

func Check(
	status int64, body []uint8, _ []wit.Tuple2[string, string], _ float64, text string,
) loadr_plugin_assertion.Verdict {
	heap.Taken(len(body) + len(text))
	var c config
	// A config that cannot be read is the plan's mistake. A trap tells it apart from a response that fails.
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		panic(err)
	}
	if status != 200 {
		return fail("status %d, expected 200", status)
	}
	if !bytes.Contains(body, []byte(c.Text)) {
		return fail("the body does not contain %q", c.Text)
	}
	return loadr_plugin_assertion.Verdict{Pass: true}
}

func fail(format string, arguments ...any) loadr_plugin_assertion.Verdict {
	return loadr_plugin_assertion.Verdict{Detail: fmt.Sprintf(format, arguments...)}
}
