rule efeatures:
    input:
        plan.efeatures_outputs(),
    message:
        "Rheobase and e-features of all target sets."


rule find_rheobase:
    input:
        lambda wildcards: plan.sweep_tables(plan.buckets[wildcards.bucket]),
    output:
        f"{RESULTS}/efeatures/rheobase/{{bucket}}.parquet",
    log:
        f"{LOGS}/find_rheobase/{{bucket}}.log",
    benchmark:
        f"{LOGS}/find_rheobase/{{bucket}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=1000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("find_rheobase", wildcards.bucket),
        code=plan.code["find_rheobase"],
    message:
        "Count spikes and find the rheobase ({wildcards.bucket})."
    shell:
        "ephysflow find-rheobase --plan {resources.plan:q} --item {wildcards.bucket:q} > {log:q} 2>&1"


rule collect_rheobase:
    input:
        plan.bucket_rheobase(),
    output:
        f"{RESULTS}/efeatures/rheobase.parquet",
    log:
        f"{LOGS}/collect_rheobase.log",
    benchmark:
        f"{LOGS}/collect_rheobase.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=1000,
        runtime=10,
    params:
        item=plan.settings("collect_rheobase") if plan.sets else "",
        code=plan.code["collect_rheobase"],
    message:
        "Put the rheobase of all cells into one table."
    shell:
        "ephysflow collect-rheobase --plan {resources.plan:q} > {log:q} 2>&1"


rule extract_efeatures:
    input:
        lambda wildcards: plan.extraction_inputs(**wildcards),
    output:
        f"{RESULTS}/efeatures/{{target_set}}extraction/{{protocol}}/{{bucket}}.parquet",
    log:
        f"{LOGS}/extract_efeatures/{{target_set}}{{protocol}}/{{bucket}}.log",
    benchmark:
        f"{LOGS}/extract_efeatures/{{target_set}}{{protocol}}/{{bucket}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=1000,
        runtime=60,
    params:
        item=lambda wildcards: plan.settings(
            "extract_efeatures",
            wildcards.target_set,
            wildcards.protocol,
            wildcards.bucket,
        ),
        code=plan.code["extract_efeatures"],
    message:
        "Extract e-features of {wildcards.protocol} ({wildcards.bucket}, set '{wildcards.target_set}')."
    shell:
        "ephysflow extract-efeatures --plan {resources.plan:q} --item '{wildcards.target_set}' {wildcards.protocol:q}"
        " {wildcards.bucket:q} > {log:q} 2>&1"


rule group_efeatures:
    input:
        lambda wildcards: plan.grouping_inputs(wildcards.target_set),
    output:
        expand(
            "{results}/efeatures/{{target_set}}{name}",
            results=RESULTS,
            name=[path.name for path in plan.grouping_outputs("")],
        ),
    log:
        f"{LOGS}/group_efeatures/{{target_set}}all_cells.log",
    benchmark:
        f"{LOGS}/group_efeatures/{{target_set}}all_cells.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("group_efeatures", wildcards.target_set),
        code=plan.code["group_efeatures"],
    message:
        "Pool the sweeps into targets and write the files for model fitting (set '{wildcards.target_set}')."
    shell:
        "ephysflow group-efeatures --plan {resources.plan:q} --item '{wildcards.target_set}' > {log:q} 2>&1"


rule group_efeatures_of_cell:
    input:
        lambda wildcards: plan.grouping_inputs_of_cell(**wildcards),
    output:
        expand(
            "{results}/efeatures/{{target_set}}per_cell/{{cell}}/{name}",
            results=RESULTS,
            name=paths.MODEL_FITTING_FILES,
        ),
    log:
        f"{LOGS}/group_efeatures_of_cell/{{target_set}}{{cell}}.log",
    benchmark:
        f"{LOGS}/group_efeatures_of_cell/{{target_set}}{{cell}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=1000,
        runtime=10,
    params:
        item=lambda wildcards: plan.settings(
            "group_efeatures_of_cell", wildcards.target_set, wildcards.cell
        ),
        code=plan.code["group_efeatures_of_cell"],
    message:
        "Write the files for model fitting of {wildcards.cell} alone (set '{wildcards.target_set}')."
    shell:
        "ephysflow group-efeatures-of-cell --plan {resources.plan:q} --item '{wildcards.target_set}' {wildcards.cell:q} > {log:q} 2>&1"
