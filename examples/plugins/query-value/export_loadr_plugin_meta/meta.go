// Package export_loadr_plugin_meta says who the plugin is.
package export_loadr_plugin_meta

import "wit_component/loadr_plugin_meta"

func Describe() loadr_plugin_meta.Info {
	return loadr_plugin_meta.Info{
		Name:        "query-value",
		Version:     "0.1.0",
		Kind:        "extractor",
		Description: "Takes a parameter out of the query of a URL in a header",
	}
}
