UPDATE meta SET target = $target
