-- Files whose rejected rows an earlier run recorded.
SELECT DISTINCT path, fingerprint FROM source_files
