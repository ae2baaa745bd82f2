rule recordings:
    message:
        "Sweep tables of all cells."
    input:
        plan.recordings_outputs(),


rule ingest_recordings:
    message:
        "Read the recordings of {wildcards.cell}, find the stimuli, check the quality."
    input:
        lambda wildcards: plan.existing_recordings(wildcards.cell),
    output:
        f"{RESULTS}/recordings/{{cell}}.parquet",
        f"{RESULTS}/recordings/exclusions/{{cell}}.parquet",
    params:
        item=lambda wildcards: plan.settings("ingest_recordings", wildcards.cell),
        code=plan.code["ingest_recordings"],
    log:
        f"{LOGS}/ingest_recordings/{{cell}}.log",
    benchmark:
        f"{LOGS}/ingest_recordings/{{cell}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    shell:
        "ephysflow ingest-recordings --plan {plan_file:q} --item {wildcards.cell:q} > {log:q} 2>&1"
