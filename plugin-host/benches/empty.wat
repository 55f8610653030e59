;; A plugin that does nothing: extract returns none at once. Its allocator only counts up, and begins again after each call.
(component
  (core module $m
    (memory (export "memory") 20)
    (global $top (mut i32) (i32.const 4096))
    (data (i32.const 16) "\00\01\00\00\05\00\00\00\10\01\00\00\05\00\00\00\20\01\00\00\09\00\00\00\30\01\00\00\00\00\00\00")
    (data (i32.const 256) "empty")
    (data (i32.const 272) "1.0.0")
    (data (i32.const 288) "extractor")
    (func (export "realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and
        (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $top (i32.add (local.get $at) (local.get $len)))
      local.get $at)
    (func (export "describe") (result i32) i32.const 16)
    (func (export "extract") (param i32 i32 i32 i32 i32 i32) (result i32)
      (global.set $top (i32.const 4096))
      i32.const 80))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))

  (type $info (record (field "name" string) (field "version" string) (field "kind" string) (field "description" string)))
  (func $describe (result $info) (canon lift (core func $i "describe") (memory (core memory $memory))))
  (component $named
    (type $info (record (field "name" string) (field "version" string) (field "kind" string) (field "description" string)))
    (import "t" (type $t (eq $info)))
    (import "f" (func $f (result $t)))
    (export $out "info" (type $info))
    (export "describe" (func $f) (func (result $out))))
  (instance $meta (instantiate $named (with "t" (type $info)) (with "f" (func $describe))))
  (export "loadr:plugin/meta@0.1.0" (instance $meta))

  (func $extract (param "body" (list u8)) (param "headers" (list (tuple string string))) (param "config" string)
    (result (option string))
    (canon lift (core func $i "extract") (memory (core memory $memory)) (realloc (core func $i "realloc"))))
  (instance $extractor (export "extract" (func $extract)))
  (export "loadr:plugin/extractor@0.1.0" (instance $extractor)))
